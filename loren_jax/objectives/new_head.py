"""What noise costs of the answers that a model would give if its new head gave any."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from loren_jax.losses import micro_batched
from loren_jax.noise import leaf_paths
from loren_jax.objectives.scoring import cross_entropy
from loren_jax.types import PyTree


class Losses(NamedTuple):
    """Of a batch.

    Attributes:
      loss: what is lost of the model's own answers.
      trained: the cross-entropy of the labels.
    """

    loss: Float[Array, ""]
    trained: Float[Array, ""]


class Answering(NamedTuple):
    """A model whose new head answers, and what is lost of its answers.

    Attributes:
      loss: `(params, (batch, answers), *frozen)` to both, as `measure_walk` takes them.
      params: with a head that answers.
      batch: from a step's number to its batch and the answers of `params` to it.
    """

    loss: Callable[..., Any]
    params: PyTree
    batch: Callable[[int], PyTree]


def answering(
    logits: Callable[..., Float[Array, "B C"]],
    params: PyTree,
    batch: Callable[[int], Any],
    layer: str,
    frozen: Sequence[PyTree] = (),
    micro_batch_size: int | None = None,
) -> Answering:
    r"""The divergence from a model's own answers, with its new head scaled until it has any.

    .. math::

        \log C + \frac{1}{B} \sum_b \operatorname{KL}\big( p_b(x_0) \,\|\, p_b(x) \big)

    The logits of a new head are near zero whatever the rest of the model says, so that its loss
    bears noise that leaves nothing of the rest. At `x_0` the last layer of the head is scaled
    until two logits of a row differ by one, as a root mean square over rows and pairs of classes.
    The means over the first batch are taken off all logits: a preference for one class would hide
    what the rest says.

    The cross-entropy of labels `y` is at `x_0` no minimum of the encoder's, so that noise may lower
    it: it is the divergence and a part that is linear in the logits `z`,

    .. math::

        -\log p_y(x) = -\log p_y(x_0) + \operatorname{KL}\big( p(x_0) \,\|\, p(x) \big)
            + (p(x_0) - y)^T (z(x) - z(x_0))

    Curvature is of the first, and the slopes that a run follows are of the second.

    Args:
      logits: `(params, batch, *frozen)`.
      params: of the start.
      batch: the batch of a step, from its number; rows have `labels`.
      layer: path of the one that gives the logits, of a `kernel` and maybe a `bias` of zeros.
      frozen: further arguments of `logits`.
      micro_batch_size: rows at a time; None for all.

    Returns:
      Loss, parameters and batches, as `measure_walk` takes them. They cost a forward pass for the
      scale, and one for the answers to each batch.

    Raises:
      ValueError: the head gives all rows of the first batch the same logits.
    """

    def by_parts(params: PyTree, tokens: PyTree, *frozen: PyTree) -> Float[Array, "B C"]:
        if micro_batch_size is None:
            return logits(params, tokens, *frozen)
        row = lambda row: logits(params, jax.tree.map(lambda x: x[None], row), *frozen)[0]
        return jax.lax.map(row, tokens, batch_size=micro_batch_size)

    of_layer = [
        place
        for place, path in enumerate(leaf_paths(params))
        if f"/{path}".endswith((f"/{layer}/kernel", f"/{layer}/bias"))
    ]

    @jax.jit
    def scaled(params: PyTree, tokens: PyTree, *frozen: PyTree) -> tuple[list[Array], Array, Array]:
        """Of that layer alone, as the whole would be a copy; its means; whether rows differ."""
        found = by_parts(params, tokens, *frozen)
        means = jnp.mean(found, 0)
        apart = found - means[None]
        apart -= jnp.mean(apart, 1, keepdims=True)
        classes = found.shape[1]
        size = jnp.sqrt(2 * classes / (classes - 1) * jnp.mean(apart**2))
        leaves = jax.tree.leaves(params)
        new = [(leaves[place] / size).astype(leaves[place].dtype) for place in of_layer]
        return new, means / size, size > 1e-6 * jnp.sqrt(jnp.mean(found**2))

    leaves, structure = jax.tree.flatten(params)
    new, means, differ = scaled(params, batch(0), *frozen)
    if not differ:
        raise ValueError(
            "batch_size is 1, or all rows of the first batch are one to the new head, so that no "
            "walk can be found beside it: give larger batches, or a learning_rate."
        )
    for place, leaf in zip(of_layer, new, strict=True):
        leaves[place] = leaf
    start, offset = jax.tree.unflatten(structure, leaves), np.asarray(means)[None]
    answers = jax.jit(lambda *given: jax.nn.log_softmax(by_parts(*given) - offset))

    def answered(step: int) -> PyTree:
        tokens = batch(step)
        return tokens, answers(start, tokens, *frozen)

    def loss(params: PyTree, given: PyTree, *frozen: PyTree) -> Any:
        def losses(params: PyTree, given: PyTree) -> Losses:
            tokens, answers = given
            found = logits(params, tokens, *frozen) - offset
            lost = jnp.sum(jnp.exp(answers) * (answers - jax.nn.log_softmax(found)), 1)
            labelled = jnp.mean(cross_entropy(found, tokens.labels))
            return Losses(math.log(answers.shape[1]) + jnp.mean(lost), labelled)

        rows = given[1].shape[0] if micro_batch_size is None else micro_batch_size
        return micro_batched(losses, given, rows)(params)

    return Answering(loss, start, answered)
