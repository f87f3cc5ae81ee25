"""The training step: one compiled program that never copies the parameters between steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from loren_jax.evaluation import micro_batched
from loren_jax.tasks import Tokens
from loren_jax.train.loss import cross_entropy
from loren_jax.types import PyTree

TrainStep = Callable[[PyTree, PyTree, Tokens], tuple[PyTree, PyTree, "StepMetrics"]]


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


def make_train_step(
    apply: Callable[..., jax.Array],
    optimizer: Any,
    *,
    micro_batch_size: int | None = None,
) -> Any:
    """The jitted step `(params, opt_state, tokens, full=None) -> (params, opt_state, StepMetrics)`.

    `full` is all training data, for a method that needs the loss on it too.

    The parameters and the optimiser's state that are passed in are donated: they are overwritten,
    and must not be used afterwards.

    Args:
        apply: `apply(params, input_ids, attention_mask, token_type_ids) -> logits`.
        optimizer: A zeroth-order transformation; its state has `losses`, `loss` and `nonfinite`.
        micro_batch_size: Examples that a query computes at a time; None for a batch's.

    Returns:
        A function made by `jax.jit`; `lower` and `compile` work on it.
    """

    def loss(params: PyTree, tokens: Tokens) -> jax.Array:
        return jnp.mean(cross_entropy(apply(params, *tokens[:3]), tokens.labels))

    def train_step(params: PyTree, opt_state: PyTree, tokens: Tokens, full: Tokens | None = None):
        rows = len(tokens.labels) if micro_batch_size is None else micro_batch_size
        more = {} if full is None else {"full_value_fn": micro_batched(loss, full, rows)}
        value_fn = micro_batched(loss, tokens, rows)
        updates, opt_state = optimizer.update(None, opt_state, params, value_fn=value_fn, **more)
        params = optax.apply_updates(params, updates)
        metrics = StepMetrics(*(optax.tree.get(opt_state, name) for name in StepMetrics._fields))
        return params, opt_state, metrics

    return jax.jit(train_step, donate_argnums=(0, 1))
