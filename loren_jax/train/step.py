"""The training step on a classifier: `loren_jax.train_step`'s, with frozen weights beside.

A run takes its two programs apart, as it writes the losses between them down: a replay runs the
second alone, for the same bits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from loren_jax.losses import micro_batched
from loren_jax.tasks import Tokens
from loren_jax.train.loss import cross_entropy
from loren_jax.transforms import TrainStep
from loren_jax.types import PyTree


class StepMetrics(NamedTuple):
    """What a step reports: a few numbers, of which none costs a forward pass.

    Attributes:
        losses: Every loss that the step queried, one row a direction.
        loss: Mean of the finite ones.
        nonfinite: How many losses of the run so far were not finite.
    """

    losses: Float[Array, "K S"]
    loss: Float[Array, ""]
    nonfinite: Int[Array, ""]


class Compiled(NamedTuple):
    """A step's programs, compiled for the arguments of a run.

    Attributes:
        probe: `(params, opt_state, tokens, full, frozen) -> losses`.
        absorb: `(params, opt_state, losses) -> (params, opt_state)`, both overwritten.
        temporary: Temporary bytes of the larger program, where they are known.
    """

    probe: Any
    absorb: Any
    temporary: int | None


def make_train_step(
    apply: Callable[..., jax.Array],
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    micro_batch_size: int | None = None,
) -> TrainStep:
    """The step of an optimiser on a classifier.

    Its batch is `tokens, full=None, frozen=()`: `full` is all training data, for a method that
    needs the loss on it too, `frozen` what `apply` takes last.

    Args:
        apply: `apply(params, input_ids, attention_mask, token_type_ids, *frozen) -> logits`.
        optimizer: A zeroth-order transformation; its state has `losses`, `loss` and `nonfinite`.
        micro_batch_size: Examples that a query computes at a time; None for a batch's.

    Returns:
        A step, as `loren_jax.train_step` makes them.
    """

    def functions(tokens: Tokens, full: Tokens | None = None, frozen: tuple[Any, ...] = ()):
        def loss(params: PyTree, tokens: Tokens) -> jax.Array:
            return jnp.mean(cross_entropy(apply(params, *tokens[:3], *frozen), tokens.labels))

        rows = len(tokens.labels) if micro_batch_size is None else micro_batch_size
        data = {"value_fn": tokens, "full_value_fn": full}
        return {n: micro_batched(loss, x, rows) for n, x in data.items() if x is not None}

    return TrainStep(functions, optimizer)


def compiled(
    step: TrainStep, params: PyTree, opt_state: PyTree, tokens: Tokens, full: PyTree, frozen: PyTree
) -> Compiled:
    """The two programs of a step, compiled before any is called."""
    probe = step.probe.lower(params, opt_state, tokens, full, frozen)
    probe = probe.compile(compiler_options=_options((params, frozen)))
    losses = optax.tree.get(opt_state, "losses")
    losses = jax.ShapeDtypeStruct(losses.shape, losses.dtype)
    absorb = step.absorb.lower(params, opt_state, losses).compile()
    sizes = [
        getattr(program.memory_analysis(), "temp_size_in_bytes", None)
        for program in (probe, absorb)
    ]
    known = [size for size in sizes if size is not None]
    return Compiled(probe, absorb, max(known, default=None))


@jax.jit
def report(opt_state: PyTree) -> StepMetrics:
    """What a step reports, as a copy that outlives the state."""
    # Copies: what is merely passed through would be overwritten with the state.
    return StepMetrics(*(jnp.copy(optax.tree.get(opt_state, n)) for n in StepMetrics._fields))


def _options(weights: PyTree) -> dict[str, bool | str] | None:
    """On a CPU bfloat16 is multiplied in float32, and XLA would convert all layers beforehand.

    With jax 0.10.2 that takes twice the parameters. 0.12.0.1 plans no copy of all layers and still
    knows the option, which then changes next to nothing: 0.19 of the parameters instead of 0.21.
    """
    narrow = any(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(weights))
    if not narrow or jax.default_backend() != "cpu":
        return None
    return {"xla_disable_hlo_passes": "while-loop-invariant-code-motion"}
