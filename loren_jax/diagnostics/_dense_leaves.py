"""Which weights a loss forces dense, and by which operation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from loren_jax import noise
from loren_jax.directions import isotropic
from loren_jax.evaluation._perturbed.interpreter import Interpreter
from loren_jax.evaluation._perturbed.query import interpret
from loren_jax.evaluation._perturbed.rules import RULES
from loren_jax.types import Distribution, PyTree, ValueFn


class DenseLeaf(NamedTuple):
    """A weight that a loss forces dense.

    Attributes:
      path: of the leaf.
      primitive: the operation that has no rule for a structured leaf, or the kind of direction that
        no rule knows of, which is added to its leaf before anything reads that.
      bytes: of the sum, which is taken in float32. Of one layer, where the leaf is a stack that a
        `scan` runs over: the other layers' sums are not alive then.
    """

    path: str
    primitive: str
    bytes: int

    @property
    def advice(self) -> str:
        """What can be done about it, in a sentence or two."""
        return _ADVICE.get(self.primitive, _OTHERWISE)


_AXES = (
    "The fan-in axes of the leaf are not those that the loss sums over: pass "
    "matrix_axes=loren_jax.matrix_axes(loss, params) to the optimiser."
)
_CARRIED = (
    "The loop changes the weight that it carries: close over the weight, or run over it, and keep "
    "what changes apart."
)
_FUSED = (
    "A fused kernel reads the whole weight: choose the library's plain implementation, as "
    "attention without Pallas, flash or cuDNN kernels."
)
_SPLIT = "Slice, join or sum what comes of the weight, not the weight."
_OTHERWISE = (
    "No rule has this operation on a weight: apply it to what comes of the weight, do it once "
    "outside the loss, or leave the leaf untrained with trained(optimizer, mask)."
)
_ADVICE = (
    dict.fromkeys(
        ("dot_general", "ragged_dot_general", "reshape", "stack", "gather", "squeeze", "split"),
        _AXES,
    )
    | {
        "conv_general_dilated": _AXES + " A kernel with hardly more channels out than ranks, as in "
        "a depthwise convolution, is small, and stays."
    }
    | dict.fromkeys(("scan", "while"), _CARRIED)
    | dict.fromkeys(
        ("pallas_call", "custom_call", "ffi_call", "dot_product_attention_fwd_wrapper"), _FUSED
    )
    | dict.fromkeys(("slice", "dynamic_slice", "concatenate", "add", "sub", "reduce_sum"), _SPLIT)
    | {
        "output of a loop or branch": "A loop or branch returns the weight: return what comes of "
        "it instead.",
        "output of the loss": "The function returns the weight itself, which has to be built.",
        "cond": "The branches do not agree on the weight: use it inside of them.",
    }
)


def dense_leaves(
    value_fn: ValueFn, params: PyTree, directions: Distribution | None = None
) -> list[DenseLeaf]:
    """The weights that a loss forces dense under low-rank perturbations.

    A weight that is only multiplied with activations, gathered from, transposed, reshaped or sliced
    keeps its structure. Anything else, as a normalised or a quantised weight, costs its sum with
    the perturbation once a query that runs. Nothing is computed.

    Args:
      value_fn: the loss, `params -> scalar`.
      params: the parameters, or their shapes.
      directions: what perturbs them; by default rank-1 directions on every leaf.

    Returns:
      The weights in the order of the program, each once for each operation; empty is good.

    >>> params = {"kernel": jnp.ones((8, 8)), "gate": jnp.ones((8, 8))}
    >>> x = jnp.ones(8)
    >>> loss = lambda params: jnp.sum(x @ params["kernel"] @ jnp.tanh(params["gate"]))
    >>> dense_leaves(loss, params)
    [DenseLeaf(path='gate', primitive='tanh', bytes=256)]
    """
    directions = isotropic(rank=1) if directions is None else directions
    found: dict[DenseLeaf, None] = {}

    def record(name: str, weight: Array, primitive: str) -> None:
        size = jnp.dtype(jnp.float32).itemsize * weight.size
        found[DenseLeaf(name, primitive, size)] = None

    closed = jax.make_jaxpr(value_fn)(params)

    def query(params: PyTree) -> list[Array]:
        key = noise.run_key(0)
        drawn = directions.draw(directions.init(params, key), params, key)
        return interpret(closed, params, drawn, jnp.float32(1), Interpreter(RULES, record))

    jax.eval_shape(query, params)
    return list(found)
