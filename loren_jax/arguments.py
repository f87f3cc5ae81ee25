"""Checks of arguments, with errors that name the argument, what was wrong and how to mend it."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax import noise
from loren_jax.types import PyTree, ScalarOrSchedule


def is_concrete_number(value: Any) -> bool:
    """Whether `value` can be looked at now: no schedule, and no tracer of `inject_hyperparams`."""
    return not callable(value) and not isinstance(value, jax.core.Tracer)


def positive(name: str, value: Any) -> None:
    """Raises unless `value` is a number, positive and finite; schedules and tracers pass.

    Raises:
      TypeError: `value` is no number, as for all of these checks.
      ValueError: it is zero, negative, infinite or NaN.

    >>> positive("damping", 0.0)
    Traceback (most recent call last):
    ...
    ValueError: damping must be positive and finite, got 0.0: pass a number above zero.
    """
    if _is_readable(name, value) and not (math.isfinite(value) and value > 0):
        raise ValueError(
            f"{name} must be positive and finite, got {value}: pass a number above zero."
        )


def above_zero(name: str, value: Any) -> None:
    """Raises unless `value` is a number above zero, of which infinity is one; tracers pass.

    >>> above_zero("chance", float("nan"))
    Traceback (most recent call last):
    ...
    ValueError: chance must be above zero, got nan: pass a number such as 0.7, or infinity.
    """
    if _is_readable(name, value) and not value > 0:
        raise ValueError(
            f"{name} must be above zero, got {value}: pass a number such as 0.7, or infinity."
        )


def non_negative(name: str, value: Any) -> None:
    """Raises unless `value` is a number, zero or more and finite; schedules and tracers pass."""
    if _is_readable(name, value) and not (math.isfinite(value) and value >= 0):
        raise ValueError(
            f"{name} must be zero or more and finite, got {value}: pass a number such as 0.0."
        )


def fraction(name: str, value: Any) -> None:
    """Raises unless `value` is a number and `0 <= value < 1`; schedules and tracers pass."""
    if _is_readable(name, value) and not 0 <= value < 1:
        raise ValueError(
            f"{name} must be at least 0 and below 1, got {value}: pass a number such as 0.9."
        )


def positive_at_start(name: str, value: Any) -> None:
    """`positive`, and of a schedule its value at step 0, where a rate may be zero but no scale.

    >>> positive_at_start("scale", lambda step: -1.0)
    Traceback (most recent call last):
    ...
    ValueError: scale(0) must be positive and finite, got -1.0: pass a number above zero.
    """
    if not callable(value):
        return positive(name, value)
    with jax.ensure_compile_time_eval():
        return positive(f"{name}(0)", value(jnp.zeros((), jnp.int32)))


def _is_readable(name: str, value: Any) -> bool:
    """Whether `value` is a number that can be looked at; raises if it is something else."""
    if not is_concrete_number(value):
        return False
    dtype = getattr(value, "dtype", None)
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    if dtype is not None:  # an array or a scalar of NumPy; bfloat16 is a number for JAX alone
        numeric = jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
    if not numeric or np.shape(value):
        raise TypeError(
            f"{name} must be one number, got {_describe(value)}: pass a Python float such as 1e-3."
        )
    return True


def _describe(value: Any) -> str:
    """What was given, in one short line."""
    if hasattr(value, "dtype"):
        return f"an array of type {value.dtype} and shape {value.shape}"
    text = f"{value!r} of type {type(value).__name__}"
    return text if len(text) < 80 and "\n" not in text else f"a {type(value).__name__}"


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raises ValueError unless `value` is one of the allowed words.

    >>> choice("order", "up", ("down", "sideways"))
    Traceback (most recent call last):
    ...
    ValueError: order must be one of 'down', 'sideways', got 'up'.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")


def count(name: str, value: Any, minimum: int = 1, why: str = "") -> None:
    """Raises unless `value` is an integer of at least `minimum`.

    Raises:
      TypeError: `value` is no Python int, as under `inject_hyperparams` without `static_args`.
      ValueError: `value` is below `minimum`.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"{name} must be a Python int, got {_describe(value)}: pass a whole number such as 4, "
            "as it fixes shapes. Under optax.inject_hyperparams name it in static_args."
        )
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}{why}.")


def rank(value: Any, *, signs: bool = False) -> None:
    """Raises unless `value` is the rank of directions: `"auto"`, None, or an integer from 1 on.

    `signs` is whether it may be `"signs"` too, as where no covariance is learned.

    >>> rank("full")
    Traceback (most recent call last):
    ...
    TypeError: rank must be a Python int, None or 'auto', got 'full' of type str: ...
    """
    if value is None or value == "auto" or (signs and value == "signs"):
        return
    if isinstance(value, str) and value == "signs":
        raise ValueError(
            "rank='signs' is for methods with isotropic directions, such as mezo: here what is "
            "learned is that of a Gaussian; use rank=None"
        )
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"rank must be a Python int, None or 'auto', got {_describe(value)}: pass 1 for rank-1 "
            "directions, None for full Gaussian ones. Under optax.inject_hyperparams name it in "
            "static_args."
        )
    count("rank", value)


def value_at(value: ScalarOrSchedule, step: jax.Array) -> jax.Array:
    """The value at `step` of a number or an Optax schedule, float32."""
    return jnp.asarray(value(step) if isinstance(value, Callable) else value, jnp.float32)


def not_deleted(name: str, tree: PyTree) -> None:
    """Raises ValueError if an array was donated, as `train_step` does with what it changes."""
    for path, leaf in zip(noise.leaf_paths(tree), jax.tree.leaves(tree), strict=True):
        known = isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer)
        if known and leaf.is_deleted():
            raise ValueError(
                f"{name}: the array of leaf {path!r} has been deleted, as a step changes arrays "
                "that it is given in place: keep a copy before the first step, "
                f"jax.tree.map(jnp.copy, {name})."
            )


def trainable_leaves(params: PyTree) -> None:
    """Raises ValueError unless every leaf is a floating-point array.

    A tree without leaves passes: `optax.tree.map_params` initialises with one.
    """
    for name, leaf in zip(noise.leaf_paths(params), jax.tree.leaves(params), strict=True):
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(
                f"params leaf {name!r} has dtype {dtype} and cannot be perturbed: leave it out "
                f"with loren_jax.trained(optimizer, lambda path: path != {name!r}), or cast it to "
                "a float."
            )
