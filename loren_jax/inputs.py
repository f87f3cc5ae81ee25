"""What the matrices of a model are multiplied with, seen while it runs forwards.

The loss is interpreted as for a query, with rules of its own for `dot_general`: the product of an
activation and a weight hands the activation to the host and is otherwise as it was. No model has to
show what is between its layers.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback
from jax.extend.core import JaxprEqn
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from loren_jax import arguments, noise
from loren_jax.directions.masked import resolve_mask
from loren_jax.directions.matrices import AxesOf, MatrixView, view_of
from loren_jax.directions.structured import LowRank, Zero
from loren_jax.evaluation._perturbed.interpreter import Interpreter, bind
from loren_jax.evaluation._perturbed.leaves import RIGHT as _RIGHT
from loren_jax.evaluation._perturbed.leaves import Factored, is_perturbed
from loren_jax.evaluation._perturbed.query import interpret
from loren_jax.evaluation._perturbed.rules import RULES as _RULES
from loren_jax.types import Leaf, Mask, PyTree

ROWS = 1024
"""Input vectors of a matrix that are looked at: enough for a few dozen directions."""


def input_factors(
    value_fn: Callable[..., Any],
    params: PyTree,
    *,
    count: int = 16,
    power: float = 0.0,
    batches: Sequence[PyTree] | None = None,
    weights: ArrayLike | Callable[[PyTree], ArrayLike] | None = None,
    mask: Mask | None = None,
    matrix_axes: AxesOf | None = None,
) -> dict[str, Float[Array, "*stack n q"]]:
    r"""The leading principal directions of every matrix's inputs, as `input_subspace` takes them.

    .. math::

        C = \text{cov}(x), \quad C v_i = \lambda_i v_i, \qquad
        A = \Big( v_i (\lambda_i / \lambda_1)^{p / 2} \Big)_{i \le q}

    The gradient of a matrix is a sum of products of its inputs, so that it lies where the inputs
    vary. Their mean is left out. Costs one forward pass of each batch; a few hundred input vectors
    are enough.

    Args:
      value_fn: the loss on a batch, `params -> scalar`; its labels do not matter. With `batches`,
        `(params, batch) -> scalar`.
      params: the parameters.
      count: q, directions of a matrix; at most its fan-in.
      power: p; 0 for directions that are all perturbed alike, 1 for as much as the inputs vary.
      batches: what the inputs are taken from, one after the other; None if `value_fn` has it.
      weights: array of zeros and ones of the leading axes of the inputs, such as an attention mask
        (B, T): inputs where it is zero are left out. With `batches`, `batch -> array`.
      mask: the leaves whose inputs are wanted; None for all.
      matrix_axes: `(path, shape) -> MatrixAxes` where the default is wrong for a leaf.

    Returns:
      Path of a leaf to its `A`, whose columns are orthogonal, for every matrix that is multiplied
      with an activation; weights that are gathered from, or used in another way, are not in it,
      nor matrices whose inputs do not vary.

    Raises:
      ValueError: `count` below 1; no matrix is multiplied with an activation.

    >>> x = jnp.asarray([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> loss = lambda params: jnp.sum(x @ params["w"])
    >>> abs(input_factors(loss, {"w": jnp.ones((2, 5))}, count=1)["w"]).round(3).tolist()
    [[1.0], [0.0]]
    """
    arguments.count("count", count)
    arguments.non_negative("power", power)
    seen: dict[tuple[str, int], list[np.ndarray]] = {}

    def keep(name: str, layer: Array | np.ndarray, inputs: Array | np.ndarray) -> None:
        seen.setdefault((name, int(layer)), []).append(np.asarray(inputs, np.float64))

    if batches is None:
        batches, alone = [()], value_fn
        value_fn = lambda params, batch: alone(params)
    weigh = weights if callable(weights) else lambda batch: weights
    kept = -(-ROWS // max(1, len(batches)))
    watch = _watch_inputs(value_fn, params, weigh, mask, matrix_axes, kept)
    run = jax.jit(functools.partial(watch, keep))
    for batch in batches:
        jax.block_until_ready(run(params, batch))
        jax.effects_barrier()
    if not seen:
        raise ValueError("value_fn multiplies no matrix of params with an activation.")
    found = {}
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for name, (path, leaf) in zip(noise.leaf_paths(params), leaves, strict=True):
        stack = view_of(path, leaf, matrix_axes).stack
        layers = [seen.get((name, i)) for i in range(int(np.prod(stack)))]
        looked = [_principal(np.concatenate(rows), count, power) for rows in layers if rows]
        bases = [basis for basis in looked if basis is not None]
        if bases and len(bases) == len(layers):
            found[name] = jnp.asarray(np.stack(bases).reshape(*stack, *bases[0].shape), jnp.float32)
    return found


def _watch_inputs(
    value_fn: Callable[..., Any],
    params: PyTree,
    weights: Callable[[Any], Any],
    mask: Mask | None,
    matrix_axes: AxesOf | None,
    kept: int,
) -> Callable[..., Any]:
    """`(keep, params, batch)` hands each matrix's inputs on, with its number in the stack."""

    def mark(path: noise.KeyPath, leaf: Leaf, wanted: bool) -> Any:
        view = view_of(path, leaf, matrix_axes)
        return _carry_numbers(view) if wanted and not view.is_vector else _nothing(view)

    flags = resolve_mask((lambda path: True) if mask is None else mask, params)
    marked = jax.tree_util.tree_map_with_path(mark, params, flags)

    def watch(keep: Callable[[str, Any, Any], None], params: PyTree, batch: PyTree) -> Any:
        def dot_general(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
            both = all(map(is_perturbed, inputs))
            side = 0 if isinstance(inputs[0], Factored) else 1
            leaf, x = inputs[side], inputs[1 - side]
            if both or not isinstance(leaf, Factored):
                return NotImplemented
            contracted, lead = equation.params["dimension_numbers"]
            summed = {leaf.labels[i] for i in contracted[side]}
            if summed == {_RIGHT} and not lead[side]:
                rows = _rows(jnp.asarray(x), contracted[1 - side], weights(batch), kept)
                layer = leaf.right[(0,) * leaf.right.ndim]
                io_callback(lambda i, x: keep(leaf.name, i, x), None, layer, rows)
            pair = (leaf.weight, x) if side == 0 else (x, leaf.weight)
            return bind(equation, pair)

        closed = jax.make_jaxpr(lambda params: value_fn(params, batch))(params)
        interpreter = Interpreter(_RULES | {"dot_general": dot_general})
        return interpret(closed, params, marked, jnp.float32(1), interpreter)

    return watch


def _carry_numbers(view: MatrixView) -> Any:
    """A perturbation by nothing, whose fan-in factor tells a layer's number."""
    numbers = jnp.arange(int(np.prod(view.stack)), dtype=jnp.float32)
    right = jnp.broadcast_to(numbers.reshape(*view.stack, 1, 1), (*view.stack, view.n, 1))
    return LowRank(jnp.zeros((*view.stack, view.m, 1)), right, view)


def _nothing(view: MatrixView) -> Zero:
    return Zero.like(jax.ShapeDtypeStruct(view.shape, jnp.float32))


def _rows(x: Array, contracted: Sequence[int], weights: ArrayLike | None, most: int) -> Array:
    """Up to so many inputs, with a last column that is zero where one does not count."""
    kept = [i for i in range(x.ndim) if i not in contracted]
    rows = jnp.transpose(x, [*kept, *contracted])
    shape = rows.shape[: len(kept)]
    rows = rows.reshape(int(np.prod(shape)), -1).astype(jnp.float32)
    given = weights is not None and jnp.shape(weights) == shape
    counts = jnp.asarray(weights, jnp.float32) if given else jnp.ones(shape, jnp.float32)
    both = jnp.concatenate([rows, counts.reshape(-1, 1)], 1)
    if len(both) <= most:
        return both
    # Those that count, in any order: every so manieth could be one place of each text.
    drawn = np.random.default_rng(0).random(len(both))
    if not given:
        return both[np.argsort(drawn)[:most]]
    # What is known when it is traced is sorted here, as a compiler takes seconds to do so.
    numpy = np if not isinstance(weights, jax.core.Tracer) else jnp
    left_out = numpy.reshape(numpy.asarray(weights), -1) == 0
    return both[numpy.argsort(drawn + left_out)[:most]]


def _principal(rows: np.ndarray, count: int, power: float) -> np.ndarray | None:
    """None for inputs that do not vary."""
    inputs = rows[rows[:, -1] != 0, :-1]
    if not len(inputs) or np.ptp(inputs, 0).max() <= 1e-6 * np.abs(inputs).max():
        return None
    centred = inputs - inputs.mean(0)
    if len(inputs) >= inputs.shape[1]:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    else:
        _, roots, rows = np.linalg.svd(centred, full_matrices=False)
        values, vectors = roots**2, rows.T
    scales = np.ones(count) if power == 0 else (values[:count] / values[0]) ** (power / 2)
    return vectors[:, :count] * scales[: vectors.shape[1]]
