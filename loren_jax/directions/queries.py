"""Draws the directions of a step's K queries, and keeps what they share once."""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core
from jaxtyping import Array, Key

from loren_jax import noise
from loren_jax.directions.apart import apart
from loren_jax.directions.structured import Direction
from loren_jax.types import HasShapeAndDtype, Index, PyTree


def draw_queries(draw: Callable[[Any], PyTree], keys: Key[Array, " K"]) -> tuple[PyTree, PyTree]:
    """The directions of K queries.

    Under a plain `vmap` everything would get an axis K, also the arrays that do not depend on the
    query: the basis of a subspace, the diagonal of a Hessian; K copies of them.

    One query is drawn after another, so that one query's numbers are held beside the directions.

    Args:
      draw: `key -> tree of Direction`.
      keys: one for each query.

    Returns:
      The tree with a leading axis K in the arrays that depend on the query, or whose kind of
      direction shares none, and a tree like it of 0 for those and None for the others, as `vmap`
      takes for `in_axes`.

    >>> from loren_jax import noise
    >>> keys = noise.fold_all(noise.run_key(0), (3,))
    >>> draw = lambda key: {"own": jax.random.key_data(key), "shared": jax.numpy.ones(5)}
    >>> drawn, axes = draw_queries(draw, keys)
    >>> drawn["own"].shape, drawn["shared"].shape, axes
    ((3, 2), (5,), {'own': 0, 'shared': None})
    """
    closed, shapes = jax.make_jaxpr(draw, return_shape=True)(keys[0])
    run, treedef = core.jaxpr_as_fun(closed), jax.tree.structure(shapes)
    pairs = zip(_axes(closed.jaxpr), _may_share(shapes), strict=True)
    axes = [axis if may_share else 0 for axis, may_share in pairs]
    own = lambda key: [x for x, axis in zip(run(key), axes, strict=True) if axis == 0]
    drawn = iter(_apart(own, keys) if len(keys) == 1 else jax.lax.map(own, keys))
    pairs = zip(run(keys[0]), axes, strict=True)
    tree = [shared if axis is None else next(drawn) for shared, axis in pairs]
    return treedef.unflatten(tree), treedef.unflatten(axes)


def one_query(drawn: tuple[PyTree, PyTree], number: Index) -> PyTree:
    """The directions of one of the K queries, from what `draw_queries` returned."""
    return jax.tree.map(lambda x, axis: x if axis is None else x[number], *drawn)


def _apart(own: Callable[[Any], list[Any]], keys: Key[Array, " one"]) -> list[Any]:
    """One query's arrays, from a computation that nothing is fused with.

    A replay from losses must get the bits that the step got, though nothing there is evaluated.
    Several queries come from a loop, which is a boundary.
    """
    key = keys[0]
    shapes = jax.eval_shape(own, key)
    data = lambda x: noise.words(x) if _is_key(x) else x
    arrays = apart(lambda: [data(x) for x in own(key)], noise.words(key))
    wrap = lambda x, shape: noise.from_words(x) if _is_key(shape) else x
    return [wrap(x, shape)[None] for x, shape in zip(arrays, shapes, strict=True)]


def _is_key(x: HasShapeAndDtype) -> bool:
    return jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def _axes(jaxpr: core.Jaxpr) -> list[int | None]:
    """0 for each output that the inputs reach, None for the others."""
    reached = set(jaxpr.invars)
    for equation in jaxpr.eqns:
        if any(not isinstance(v, core.Literal) and v in reached for v in equation.invars):
            reached.update(equation.outvars)
    return [0 if not isinstance(v, core.Literal) and v in reached else None for v in jaxpr.outvars]


def _may_share(tree: PyTree) -> list[bool]:
    """For each array whether its kind of direction takes it without an axis K."""
    shares_none = lambda node: isinstance(node, Direction) and not node.shares
    nodes = jax.tree.leaves(tree, is_leaf=shares_none)
    return [not shares_none(node) for node in nodes for _ in jax.tree.leaves(node)]
