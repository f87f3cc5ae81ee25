"""Steps on meshes with explicit axis types, where an array's type says how it is sharded."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec

from loren_jax.types import PyTree


def automatic(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step that also takes arrays on explicit mesh axes.

    Inside, those axes are automatic ones, as losses in general are not written for explicit ones.
    Results are sharded as the arguments they replace.

    Args:
      step: `(params, state, *more) -> (params, state)`, or anything that is whole everywhere.

    Returns:
      The same function, for arguments of either kind.

    >>> import jax.numpy as jnp
    >>> mesh = jax.make_mesh((1,), ("model",), axis_types=(AxisType.Explicit,))
    >>> sharding = jax.sharding.NamedSharding(mesh, PartitionSpec("model"))
    >>> step = automatic(lambda params, state: (params - 1, state))
    >>> str(jax.typeof(jax.jit(step)(jax.device_put(jnp.ones(3), sharding), ())[0]))
    'float32[3@model]'
    """

    @functools.wraps(step)
    def either(params: PyTree, state: PyTree, *more: PyTree) -> Any:
        mesh = _explicit_mesh((params, state, more))
        if mesh is None:
            return step(params, state, *more)
        spread: Any = lambda out: jax.sharding.auto_axes(step, out_sharding=out)
        with jax.sharding.use_abstract_mesh(mesh):
            shapes = jax.eval_shape(spread(PartitionSpec()), params, state, *more)
            if jax.tree.structure(shapes) == jax.tree.structure((params, state)):
                out = jax.tree.map(lambda x: jax.typeof(x).sharding.spec, (params, state))
            else:
                out = jax.tree.map(lambda _: PartitionSpec(), shapes)
            return spread(out)(params, state, *more)

    return either


def _explicit_mesh(tree: PyTree) -> Any:
    shardings = [jax.typeof(x).sharding for x in jax.tree.leaves(tree)]
    explicit = {s.mesh for s in shardings if AxisType.Explicit in s.mesh.axis_types}
    if len(explicit) > 1:
        raise ValueError(
            f"params, state and batch lie on different meshes, {explicit}: place all on one."
        )
    return next(iter(explicit), None)
