"""The training step: two compiled programs that never copy the parameters between steps.

*Probe* takes the losses and *absorb* makes the update from them. That they are apart is what the
journal lives on: a replay runs the second alone, the very program of the training, for the same
bits.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from loren_jax.evaluation import micro_batched
from loren_jax.tasks import Tokens
from loren_jax.train.loss import cross_entropy
from loren_jax.transforms import compiled_absorb
from loren_jax.transforms import probe as probed
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


class TrainStep(NamedTuple):
    """A step as its programs; called, it takes a step with all of them.

    Attributes:
        probe: `(params, opt_state, tokens, full=None, frozen=()) -> losses`, all forward passes.
        absorb: `(params, opt_state, losses) -> (params, opt_state)`; both are donated: they are
            overwritten, and must not be used afterwards.
        report: `opt_state -> StepMetrics`, a copy that outlives the state.
    """

    probe: Any
    absorb: Any
    report: Any

    def __call__(
        self,
        params: PyTree,
        opt_state: PyTree,
        tokens: Tokens,
        full: Tokens | None = None,
        frozen: tuple[Any, ...] = (),
    ) -> tuple[PyTree, PyTree, StepMetrics]:
        """Takes a step; the parameters and the state that are given are overwritten."""
        losses = self.probe(params, opt_state, tokens, full, frozen)
        params, opt_state = self.absorb(params, opt_state, losses)
        return params, opt_state, self.report(opt_state)

    def compiled(
        self, params: PyTree, opt_state: PyTree, tokens: Tokens, full: Any, frozen: tuple[Any, ...]
    ) -> "tuple[TrainStep, int | None]":
        """The same, compiled for these arguments; and the temporary bytes of the larger program."""
        probe = self.probe.lower(params, opt_state, tokens, full, frozen)
        probe = probe.compile(compiler_options=_options((params, frozen)))
        losses = optax.tree.get(opt_state, "losses")
        losses = jax.ShapeDtypeStruct(losses.shape, losses.dtype)
        absorb = self.absorb.lower(params, opt_state, losses).compile()
        sizes = [
            getattr(program.memory_analysis(), "temp_size_in_bytes", None)
            for program in (probe, absorb)
        ]
        known = [size for size in sizes if size is not None]
        return TrainStep(probe, absorb, self.report), max(known, default=None)


def make_train_step(
    apply: Callable[..., jax.Array],
    optimizer: Any,
    *,
    micro_batch_size: int | None = None,
) -> TrainStep:
    """The step of an optimiser on a classifier.

    `full` is all training data, for a method that needs the loss on it too.

    Args:
        apply: `apply(params, input_ids, attention_mask, token_type_ids, *frozen) -> logits`.
        optimizer: A zeroth-order transformation; its state has `losses`, `loss` and `nonfinite`.
        micro_batch_size: Examples that a query computes at a time; None for a batch's.

    Returns:
        The step; its parts are made by `jax.jit`.
    """

    def probe(
        params: PyTree,
        opt_state: PyTree,
        tokens: Tokens,
        full: Tokens | None = None,
        frozen: tuple[Any, ...] = (),
    ) -> jax.Array:
        def loss(params: PyTree, tokens: Tokens) -> jax.Array:
            return jnp.mean(cross_entropy(apply(params, *tokens[:3], *frozen), tokens.labels))

        rows = len(tokens.labels) if micro_batch_size is None else micro_batch_size
        more: dict[str, Any] = (
            {} if full is None else {"full_value_fn": micro_batched(loss, full, rows)}
        )
        value_fn = micro_batched(loss, tokens, rows)
        return probed(optimizer, params, opt_state, value_fn=value_fn, **more)

    return TrainStep(jax.jit(probe), compiled_absorb(optimizer), jax.jit(_reported))


def _reported(opt_state: PyTree) -> StepMetrics:
    # Copies: what is merely passed through would be overwritten with the state.
    return StepMetrics(*(jnp.copy(optax.tree.get(opt_state, n)) for n in StepMetrics._fields))


def _options(weights: PyTree) -> dict[str, str] | None:
    """On a CPU bfloat16 is multiplied in float32, and XLA would convert all layers beforehand.

    With jax 0.10.2 that takes twice the parameters. 0.12.0.1 plans no copy of all layers and still
    knows the option, which then changes next to nothing: 0.19 of the parameters instead of 0.21.
    """
    narrow = any(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(weights))
    if not narrow or jax.default_backend() != "cpu":
        return None
    return {"xla_disable_hlo_passes": "while-loop-invariant-code-motion"}
