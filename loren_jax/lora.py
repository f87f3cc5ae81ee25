r"""Low-rank adapters (LoRA) for any JAX function, without touching it.

.. math:: W \leftarrow W + s\, (A B), \qquad
          x W + s\, (x A) B \quad \text{instead of} \quad x\, (W + s\, A B)

An adapter is a low-rank perturbation that stays. What evaluates a loss at perturbed weights without
building them evaluates an adapted model in the same way: `adapt` traces the function and multiplies
every adapted weight by its factors' detour. The result is ordinary JAX code of the adapters, so a
zeroth-order method perturbs them, `jax.grad` differentiates them, `vmap` serves several at once.

Adapters mirror the parameters that they belong to, as nested dicts by the names along the path:

* at an adapted matrix, `{"down": A (*stack, n, r), "up": B (*stack, r, m)}`, n fan-in and m fan-out
  units. Both are ordinary kernels `(..., fan_in, fan_out)`, so the defaults for matrix axes are
  right for them, whatever those of the matrix are; `lambda path: path.endswith("up")` is a mask.
* at a leaf that is trained in full, as a new head, the leaf's value itself.

>>> import optax
>>> from loren_jax import loren
>>> params = {"dense": {"kernel": jnp.eye(8)}, "head": {"kernel": jnp.ones((8, 1))}}
>>> model = lambda params, x: jnp.tanh(x @ params["dense"]["kernel"]) @ params["head"]["kernel"]
>>> adapted = adapt(model)
>>> adapters = init(params, "dense/kernel", rank=2, full="head/*")
>>> x, optimizer = jnp.ones((1, 8)), loren(0.01)
>>> @jax.jit
... def step(params, adapters, state):
...     loss = lambda adapters: jnp.mean(adapted(params, adapters, x) ** 2)
...     updates, state = optimizer.update(None, state, adapters, value_fn=loss)
...     return optax.apply_updates(adapters, updates), state
>>> state = optimizer.init(adapters)
>>> for _ in range(20):
...     adapters, state = step(params, adapters, state)
>>> bool(optax.tree.get(state, "loss") < 0.5 * jnp.mean(model(params, x) ** 2))
True
>>> merged = merge(params, adapters)
>>> bool(jnp.allclose(model(merged, x), adapted(params, adapters, x), atol=1e-5))
True
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array

from loren_jax import arguments, noise
from loren_jax.directions.masked import matching, resolve_mask
from loren_jax.directions.matrices import AxesOf, MatrixView, view_of
from loren_jax.directions.structured import Direction, LowRank, Scaled, Zero
from loren_jax.evaluation._perturbed.function import evaluate
from loren_jax.quantised import as_dense, as_shapes, is_quantised
from loren_jax.types import Mask, PyTree, Scalar, Seed

DOWN = "down"
"""The name of an adapter's factor on the side of the inputs."""
UP = "up"
"""The name of an adapter's factor on the side of the outputs."""

Names = tuple[str, ...]


def init(
    params: PyTree,
    targets: Mask,
    *,
    rank: int,
    full: Mask = (),
    key: Seed = 0,
    dtype: DTypeLike = jnp.float32,
    matrix_axes: AxesOf | None = None,
) -> dict[str, Any]:
    """Adapters that change nothing yet: `down` is random, `up` is zero.

    Operation by operation the adapted function then gives the bits of the plain one; compiled, a
    program of its own, it may round otherwise where the compiler fuses otherwise.

    `down` is `N(0, 1 / n)`, so that `x A` is of the size of x in every layer and one learning rate
    fits all. PEFT draws from `U(-1/sqrt(n), 1/sqrt(n))`, of a third of that variance: to first
    order a rate that was tuned there is to be divided by three.

    Args:
      params: the model's parameters, of which matrices may be quantised; or their shapes, if
        nothing is trained in full.
      targets: the matrices to adapt: a shell pattern of their paths such as `"*/query/kernel"`, `*`
        also matching slashes, several of them, a function of the path, or a pytree of bools.
      rank: r.
      full: the leaves to train in full, likewise; their values are copied.
      key: a seed or a threefry key. Each matrix has its numbers by its path.
      dtype: of all that is trained, whatever that of the parameters: bfloat16 swallows small
        updates.
      matrix_axes: `(path, shape) -> MatrixAxes` for leaves whose axes Flax's names do not tell; to
        be given to `adapt` and `merge` too.

    Returns:
      Nested dicts, like `params` but with the chosen leaves alone; see above.

    Raises:
      ValueError: a pattern that matches nothing, a leaf that is no matrix or no float, one that is
        to be adapted and trained in full, or nothing to train.

    >>> params = {"layers": {"up": {"kernel": jnp.ones((6, 16, 32)), "bias": jnp.ones((6, 32))}}}
    >>> adapters = init(params, "layers/*/kernel", rank=2)
    >>> jax.tree.map(jnp.shape, adapters["layers"]["up"]["kernel"])
    {'down': (6, 16, 2), 'up': (6, 2, 32)}
    """
    arguments.count("rank", rank)
    shapes = as_shapes(params)  # a quantised matrix is one leaf, as the floats would be
    leaves = jax.tree_util.tree_leaves_with_path(shapes)
    own = jax.tree_util.tree_leaves_with_path(params, is_leaf=is_quantised)
    adapted = list(itertools.compress(leaves, _flags("targets", targets, shapes)))
    whole = list(itertools.compress(own, _flags("full", full, shapes)))
    whole = [(path, as_dense(leaf)) for path, leaf in whole]
    if not adapted and not whole:
        raise ValueError("targets and full choose no leaf of params, so nothing would be trained.")
    _check_trainable(adapted, whole, matrix_axes)
    views = [view_of(path, leaf, matrix_axes) for path, leaf in adapted]
    streams = [
        noise.Stream((*noise.path_names(path), DOWN), "adapter", view.stack, (view.n, rank))
        for (path, _), view in zip(adapted, views, strict=True)
    ]
    drawn = noise.normals(noise.fold_name(noise.run_key(key), "lora"), streams)
    found: dict[Names, Any] = {}
    for (path, _), view, normal in zip(adapted, views, drawn, strict=True):
        down = (normal / jnp.sqrt(view.n)).astype(dtype)
        up = jnp.zeros((*view.stack, rank, view.m), dtype)
        found[noise.path_names(path)] = {DOWN: down, UP: up}
    for path, leaf in whole:
        found[noise.path_names(path)] = jnp.array(leaf, dtype, copy=True)
    return _nest(found)


def adapt(
    function: Callable[..., PyTree], *, scale: Scalar = 1.0, matrix_axes: AxesOf | None = None
) -> Callable[..., PyTree]:
    """The function with adapters, `adapted(params, adapters, *args, **kwargs)`.

    No adapted weight is built where it is multiplied, looked up, transposed, cast, cut or run over
    by a scan; what else happens to one makes it dense, which is always right:
    `loren_jax.diagnostics.dense_leaves` on the function tells where.

    Args:
      function: `function(params, *args, **kwargs)`, any JAX code with any arrays as results.
      scale: factor of `A B`; `lora_alpha / r` in PEFT.
      matrix_axes: as given to `init`.

    Returns:
      A function of the parameters and the adapters, to be called under `jax.jit`: it traces
      `function` each time. `jax.jit(adapted)` takes the parameters as an argument; what a compiled
      function closes over would be a constant in it. It has the derivatives that `function` has.

    >>> double = lambda params, x, power=1: {"y": (x @ params["kernel"]) ** power}
    >>> params = {"kernel": jnp.eye(4)}
    >>> adapters = {"kernel": {"down": jnp.ones((4, 1)), "up": jnp.ones((1, 4))}}
    >>> adapt(double, scale=0.5)(params, adapters, jnp.ones(4), power=2)
    {'y': Array([9., 9., 9., 9.], dtype=float32)}
    """

    def adapted(params: PyTree, adapters: PyTree, *args: Any, **kwargs: Any) -> PyTree:
        params, directions = _place(params, adapters, matrix_axes, scale)
        call = lambda params: function(params, *args, **kwargs)
        if all(isinstance(own, Zero) for own in jax.tree.leaves(directions, is_leaf=_is_zero)):
            return call(params)  # quantised matrices take the detour by themselves
        return evaluate(call, params, directions, scale)

    return adapted


def merge(
    params: PyTree, adapters: PyTree, *, scale: Scalar = 1.0, matrix_axes: AxesOf | None = None
) -> PyTree:
    """The parameters with the adapters in them, for a model that knows of none.

    Args:
      params: the model's parameters; not modified.
      adapters: of these parameters.
      scale: as given to `adapt`.
      matrix_axes: as given to `init`.

    Returns:
      A tree like `params`, of its dtypes: the sum is taken in float32 and rounded once. Leaves that
      have no adapter are the same arrays; a quantised matrix keeps its codes, with the factors
      beside them.

    >>> params = {"kernel": jnp.zeros((2, 2), jnp.bfloat16)}
    >>> adapters = {"kernel": {"down": jnp.ones((2, 1)), "up": jnp.ones((1, 2))}}
    >>> merge(params, adapters, scale=3.0)["kernel"]
    Array([[3, 3],
           [3, 3]], dtype=bfloat16)
    """
    params, directions = _place(params, adapters, matrix_axes, scale)
    merged = lambda leaf, own: leaf if isinstance(own, Zero) else _sum(leaf, own, scale)
    return jax.tree.map(merged, params, directions)


@jax.jit
def _sum(weight: Array, direction: LowRank, scale: Scalar) -> Array:
    """One of `LowRank.combine`'s weighted sums, of one term: in one pass, or layer by layer."""
    slope = jnp.asarray(scale, jnp.float32)[None]
    queries = LowRank(direction.left[None], direction.right[None], direction.view)
    return queries.combine(slope, slope, into=weight)[0]


class _Trained(NamedTuple):
    """What adapters hold for one leaf: its factors, or its value."""

    down: Any = None
    up: Any = None
    value: Any = None


def _place(
    params: PyTree, adapters: PyTree, matrix_axes: AxesOf | None, scale: Scalar
) -> tuple[PyTree, PyTree]:
    """The parameters with the leaves that are trained in full, and a direction for each leaf.

    A quantised matrix has none: it gets the factors themselves.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(params, is_leaf=is_quantised)
    names = [noise.path_names(path) for path, _ in leaves]
    trained = _by_leaf(names, adapters)
    values, directions = [], []
    for name, (path, leaf) in zip(names, leaves, strict=True):
        own, shape = trained.get(name, _Trained()), as_shapes(leaf)
        if own.value is not None:
            _check_shapes(name, own, {"value": jnp.shape(shape)})
            leaf = own.value.astype(jnp.result_type(shape))
        direction = None
        if own.down is not None:
            direction = _direction(name, own, view_of(path, shape, matrix_axes))
        if direction is not None and is_quantised(leaf):
            up = jnp.swapaxes(direction.left, -1, -2) * scale
            leaf, direction = dataclasses.replace(leaf, down=direction.right, up=up), None
        values.append(leaf)
        directions.append(jax.tree.map(Zero.like, leaf) if direction is None else direction)
    return treedef.unflatten(values), treedef.unflatten(directions)


def _is_zero(node: Any) -> bool:
    return isinstance(node, Zero)


def _direction(name: Names, own: _Trained, view: MatrixView) -> LowRank:
    rank = jnp.shape(own.down)[-1] if jnp.ndim(own.down) else 0
    _check_shapes(name, own, {DOWN: (*view.stack, view.n, rank), UP: (*view.stack, rank, view.m)})
    left, right = jnp.swapaxes(own.up, -1, -2), own.down
    return LowRank(left.astype(jnp.float32), right.astype(jnp.float32), view)


def _by_leaf(names: list[Names], adapters: PyTree) -> dict[Names, _Trained]:
    """The arrays of the adapters by the leaf of `params` that each belongs to."""
    flat = jax.tree_util.tree_leaves_with_path(adapters)
    arrays, found = {noise.path_names(path): array for path, array in flat}, {}
    for name in names:
        if name in arrays:
            found[name] = _Trained(value=arrays.pop(name))
        elif (*name, DOWN) in arrays and (*name, UP) in arrays:
            found[name] = _Trained(arrays.pop((*name, DOWN)), arrays.pop((*name, UP)))
    if arrays:
        raise ValueError(
            f"adapters holds {', '.join(map('/'.join, arrays))}, which belongs to no leaf of "
            "params: each must be at the path of a leaf, as its value or as its 'down' and 'up'."
        )
    return found


def _check_shapes(name: Names, own: _Trained, expected: dict[str, tuple[int, ...]]) -> None:
    for part, shape in expected.items():
        if (given := jnp.shape(getattr(own, part))) != shape:
            raise ValueError(
                f"adapters of {'/'.join(name)!r}: {part} has the shape {given}, and params need "
                f"{shape}: make them by init from parameters of these shapes and with the same "
                "matrix_axes."
            )


def _check_trainable(adapted: list[Any], whole: list[Any], matrix_axes: AxesOf | None) -> None:
    """Raises unless each leaf is a float, each adapted one a matrix, and none is in both lists."""
    name = lambda item: "/".join(noise.path_names(item[0]))
    arguments.trainable_leaves({name(item): item[1] for item in adapted + whole})
    if vectors := [name(i) for i in adapted if view_of(i[0], i[1], matrix_axes).is_vector]:
        raise ValueError(
            f"targets chooses {', '.join(vectors)}, which are vectors and have no low rank: narrow "
            "it, as to '*/kernel', or name them in full."
        )
    if both := set(map(name, adapted)) & set(map(name, whole)):
        raise ValueError(
            f"targets and full both choose {', '.join(sorted(both))}: a leaf is adapted or trained "
            "in full."
        )


def _flags(argument: str, chosen: Mask, params: PyTree) -> list[bool]:
    """Which leaves patterns or a mask choose."""
    patterns = (chosen,) if isinstance(chosen, str) else chosen
    if isinstance(patterns, tuple | list) and all(isinstance(p, str) for p in patterns):
        chosen = matching(patterns, params, argument)
    return jax.tree.leaves(resolve_mask(chosen, params))


def of_directions(directions: PyTree, multiple: Scalar = 1.0) -> dict[str, Any]:
    """Directions of two factors, which a weight is moved by, as adapters that do the same.

    Args:
      directions: a tree of directions like the parameters.
      multiple: what they are multiplied with.

    Returns:
      Adapters for `merge` with a scale of one; leaves that are not moved have none.

    Raises:
      ValueError: a leaf is moved otherwise than by factors.

    >>> from loren_jax import directions
    >>> params = {"kernel": jnp.zeros((3, 2))}
    >>> drawn = directions.isotropic(rank=1).draw((), params, noise.run_key(0))
    >>> own = of_directions(drawn, 0.5)
    >>> moved = merge(params, own)["kernel"]
    >>> bool(jnp.allclose(moved, 0.5 * drawn["kernel"].to_dense()))
    True
    """
    is_direction = lambda node: isinstance(node, Direction)
    found: dict[Names, Any] = {}
    for path, one in jax.tree_util.tree_leaves_with_path(directions, is_leaf=is_direction):
        factor = multiple
        while isinstance(one, Scaled):
            one, factor = one.inner, factor * one.radius
        if isinstance(one, Zero):
            continue
        if not isinstance(one, LowRank):
            name, kind = "/".join(noise.path_names(path)), type(one).__name__
            raise ValueError(
                f"leaf {name!r} is moved by {kind} and not by two factors: give the optimizer a "
                "rank, and train matrices alone, as with "
                "loren_jax.trained(optimizer, lambda path: path.endswith('kernel'))"
            )
        up = factor * jnp.swapaxes(one.left, -1, -2)
        found[noise.path_names(path)] = {DOWN: one.right, UP: up}
    return _nest(found)


def _nest(found: dict[Names, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for names, value in found.items():
        node = tree
        for name in names[:-1]:
            node = node.setdefault(name, {})
        node[names[-1]] = value
    return tree
