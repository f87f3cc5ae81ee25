"""The evaluation: trace once, interpret once for each query."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.extend import core

from loren_jax import noise
from loren_jax.evaluation._perturbed.activations import bytes_of, traffic
from loren_jax.evaluation._perturbed.interpreter import Interpreter
from loren_jax.evaluation._perturbed.leaves import enter
from loren_jax.evaluation._perturbed.rules import RULES
from loren_jax.types import PyTree, Query, ValueFn

Built: TypeAlias = dict[str, tuple[int, str]]
"""Of leaves that were made dense, by path: how many numbers, and by which operation."""

_BUILT: ContextVar[Built | None] = ContextVar("built", default=None)


@contextlib.contextmanager
def collect_built() -> Iterator[Built]:
    """Collects the leaves that losses make dense which are traced within."""
    built: Built = {}
    token = _BUILT.set(built)
    try:
        yield built
    finally:
        _BUILT.reset(token)


def _note_built(name: str, weight: jax.Array, primitive: str) -> None:
    built = _BUILT.get()
    if built is not None and weight.size > built.get(name, (0, ""))[0]:
        built[name] = (weight.size, primitive)


def perturbed(value_fn: ValueFn, params: PyTree) -> Query:
    """Evaluates `value_fn` at `params + scale * directions` without building that sum.

    Args:
      value_fn: the loss, or any function of the parameters; any JAX code, traced once.
      params: the parameters; never modified.

    Returns:
      The query. K of them cost K forward passes and the memory of one.

    Raises:
      ValueError: `value_fn` uses none of the perturbed leaves, as when it closes over the
        parameters instead of taking them as its argument.

    >>> from loren_jax.directions import isotropic
    >>> params = {"kernel": jnp.ones((8, 8))}
    >>> directions = isotropic(rank=1).draw((), params, noise.run_key(0))
    >>> loss = lambda params: jnp.sum(jnp.ones(8) @ params["kernel"])
    >>> value = perturbed(loss, params).run(directions, jnp.asarray(0.1))
    >>> moved = params["kernel"] + 0.1 * directions["kernel"].to_dense()
    >>> bool(jnp.allclose(value, jnp.sum(moved), rtol=1e-5))
    True
    """
    closed, shape = jax.make_jaxpr(value_fn, return_shape=True)(params)
    rebuild = jax.tree.structure(shape).unflatten
    amount, held = traffic(closed.jaxpr), (*closed.jaxpr.invars, *closed.jaxpr.constvars)
    return Query(
        run=lambda directions, scale: rebuild(interpret(closed, params, directions, scale)),
        activation_bytes=amount.own,
        shared_bytes=min(amount.shared, sum(bytes_of(v.aval) for v in held)),
    )


def interpret(
    closed: core.ClosedJaxpr,
    params: PyTree,
    directions: PyTree,
    scale: jax.Array,
    interpreter: Interpreter | None = None,
    name: str = "value_fn",
) -> list[Any]:
    """What a traced function of the parameters returns at perturbed ones, as arrays.

    Args:
      closed: jaxpr of the function, one input for each leaf of `params`.
      params: the parameters.
      directions: a direction for each leaf.
      scale: perturbation scale times the scheme's point.
      interpreter: with other rules, or one that is told of materialised leaves.
      name: of the function, for the error where it uses nothing that is perturbed.
    """
    leaves, treedef = jax.tree.flatten(params)
    weights, jaxpr = [*map(jnp.asarray, leaves)], closed.jaxpr
    columns = (treedef.flatten_up_to(directions), noise.leaf_paths(params), weights)
    interpreter = interpreter or Interpreter(RULES, _note_built)
    note = interpreter.on_materialise
    values = [enter(*row, scale, note) for row in zip(*columns, strict=True)]
    read = (*jaxpr.outvars, *(v for equation in jaxpr.eqns for v in equation.invars))
    used = {v for v in read if not isinstance(v, core.Literal)}
    moved = {v for v, w, x in zip(jaxpr.invars, weights, values, strict=True) if x is not w}
    if moved and not used & moved:
        raise ValueError(
            f"{name} uses none of the perturbed leaves of its argument, so that it is the same at "
            "all of them. It must read the parameters from its argument, as in lambda params: "
            "loss(params, batch), not close over them."
        )
    outputs = interpreter.run(jaxpr, closed.consts, values)
    return [jnp.asarray(x) for x in interpreter.dense(outputs, "output of the loss")]
