"""What a loss function may return: a scalar, or a scalar and auxiliary outputs.

* a floating-point scalar;
* an object with the scalar in its field `loss`, as trainers and model libraries have: all of it is
  the auxiliary output;
* with `has_aux=True`, as of `jax.value_and_grad`, `(loss, aux)`, or a mapping with the key `loss`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from loren_jax.precision import loss_dtype
from loren_jax.types import LossAndAux, PyTree


def loss_and_aux(value_fn: object, has_aux: bool = False) -> Callable[[PyTree], LossAndAux]:
    """The same function, which always returns a loss and auxiliary outputs.

    Args:
      value_fn: the user's loss.
      has_aux: whether it returns `(loss, aux)`.

    Returns:
      `params -> (loss, aux)`; `aux` is `()` where there is none. The loss has the type that losses
      are kept in.

    Raises:
      TypeError: `value_fn` is no function, or returns something else.

    >>> loss_and_aux(lambda x: (x.sum(), {"largest": x.max()}), has_aux=True)(jnp.ones(3))[1]
    {'largest': Array(1., dtype=float32)}
    """
    if not callable(value_fn):
        raise TypeError(
            f"value_fn must be a function of the parameters, got {_describe(value_fn)}: pass "
            "value_fn=lambda params: loss(params, batch), not the value of the loss."
        )

    def value_and_aux(params: PyTree) -> LossAndAux:
        try:
            value = value_fn(params)
        except Exception as error:
            _note_masked(params, error)
            raise
        loss, aux = _split(value, has_aux)
        return jnp.asarray(loss, loss_dtype()), aux

    return value_and_aux


def _note_masked(params: PyTree, error: Exception) -> None:
    """Says so where the loss failed on a tree of which Optax has masked out a part."""
    masked = lambda node: isinstance(node, optax.MaskedNode)
    if any(map(masked, jax.tree.leaves(params, is_leaf=masked))):
        error.add_note(
            "Some leaves of params are optax.MaskedNode, as inside of optax.partition and "
            "optax.masked: pass value_fn=loren_jax.parts.completed(loss, params), or in place of "
            "optax.masked take loren_jax.trained(optimizer, mask)."
        )


def _split(value: Any, has_aux: bool) -> tuple[Any, PyTree]:
    loss, aux = value, ()
    if _field(value) is not None:
        loss, aux = value.loss, value
    elif has_aux and isinstance(value, Mapping) and "loss" in value:
        loss, aux = value["loss"], value
    elif has_aux and isinstance(value, tuple | list) and len(value) == 2:
        loss, aux = value
    elif has_aux:
        raise TypeError(
            f"value_fn must return (loss, aux) with has_aux=True, got {_describe(value)}: return "
            "two things, or leave has_aux out."
        )
    if not _is_loss(loss):
        raise TypeError(
            f"value_fn must return a floating-point scalar, got {_describe(loss)}: reduce it, for "
            "example with jnp.mean; auxiliary outputs are taken as (loss, aux) with has_aux=True."
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(aux):
        if not _is_array(leaf):
            place = jax.tree_util.keystr(path) or "itself"
            raise TypeError(
                f"value_fn returns auxiliary outputs of which {place} is {_describe(leaf)}: they "
                "must be arrays in pytrees, so leave it out, or register its class with "
                "jax.tree_util.register_dataclass."
            )
    return loss, aux


def _field(value: Any) -> Any:
    """The field `loss` of an object; None for arrays and for what has no such field."""
    return None if _is_array(value) else getattr(value, "loss", None)


def _is_loss(value: Any) -> bool:
    return (
        _is_array(value)
        and jnp.shape(value) == ()
        and bool(jnp.issubdtype(jnp.result_type(value), jnp.floating))
    )


def _is_array(value: Any) -> bool:
    return isinstance(value, jax.Array | np.ndarray | np.generic | bool | int | float | complex)


def _describe(value: Any) -> str:
    """A few words on a value that is not what was asked for."""
    if _is_array(value):
        return f"shape {jnp.shape(value)} and dtype {jnp.result_type(value)}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with the keys {', '.join(map(repr, value))}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of length {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
