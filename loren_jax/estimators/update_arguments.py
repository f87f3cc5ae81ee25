"""The arguments of an estimate's `update`: what is missing, misspelt or of no effect is named."""

import difflib
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from loren_jax.precision import loss_dtype
from loren_jax.types import PyTree, Scheme

NAMES = ("value_fn", "losses", "has_aux", "full_value_fn")
OF_OPTAX = ("value", "grad", "loss")
"""Extra arguments that other transformations of a chain take, and that look like those above."""


def require_params(params: PyTree) -> PyTree:
    """The parameters, if there are any."""
    if params is None:
        raise ValueError(
            "params is None: directions are drawn around the parameters. Pass them, as in "
            "update(None, state, params, value_fn=loss)."
        )
    if not jax.tree.leaves(params):
        raise ValueError(
            f"params is {params!r}, a tree without arrays: there is nothing to perturb. Pass the "
            "parameters of the model."
        )
    return params


def require_one(value_fn: Any, losses: ArrayLike | None, extra: Mapping[str, Any] = {}) -> None:
    """Raises unless exactly one of the two is there."""
    if (value_fn is None) != (losses is None):
        return
    unknown = f" Of {', '.join(extra)} nothing is known here." if extra else ""
    raise ValueError(
        f"update got {'neither' if value_fn is None else 'both'} of value_fn and losses: pass "
        "value_fn=loss, a function of the parameters, to query the loss, or losses=array to "
        f"absorb losses that were queried elsewhere.{unknown}"
    )


def require_spelling(extra: Iterable[str]) -> None:
    """Raises for a keyword that is nearly one of ours; Optax lets any other pass."""
    for name in extra:
        close = difflib.get_close_matches(name, NAMES, 1, 0.75)
        if close and name not in (*NAMES, *OF_OPTAX):
            raise TypeError(f"update takes no {name}=: did you mean {close[0]}=?")


def require_no_updates(updates: PyTree) -> None:
    """Raises unless updates are zero; warns of those in a compiled step, which cannot be seen."""
    leaves = jax.tree.leaves(updates)
    message = (
        "update got updates, but a zeroth-order estimate takes none: a gradient, or what stands "
        "before the estimate in a chain, as clipping or weight decay, would have no effect. Pass "
        "None, or zeros of NumPy where a tree is needed; what acts on the estimate goes behind it."
    )
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        warnings.warn(message, stacklevel=4)
    elif any(np.any(np.asarray(leaf)) for leaf in leaves):
        raise ValueError(message)


def require_rows(rows: int, num_directions: int, scheme: Scheme) -> None:
    """Raises unless each row can have a direction of its own."""
    if scheme.points.count(1.0) == len(scheme.points):
        raise ValueError(
            "per_example: this scheme compares directions with each other, which are of different "
            "rows: take one with pairs or a centre, such as mezo or grzo."
        )
    if rows != num_directions:
        raise ValueError(
            f"per_example: num_directions is {num_directions}, but the batch has {rows} rows, each "
            f"with a direction of its own: set num_directions={rows}."
        )


def of_shape(losses: ArrayLike, shape: tuple[int, int]) -> jax.Array:
    """The losses as an array, if they are as many as were asked for."""
    losses = jax.numpy.asarray(losses, loss_dtype())
    if losses.shape != shape:
        raise ValueError(
            f"losses has shape {losses.shape}, expected {shape}: one row for each of the "
            f"{shape[0]} directions, one column for each of the scheme's {shape[1]} points."
        )
    return losses
