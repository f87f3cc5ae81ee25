"""One number of many values, in which every entry matters."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .precision import Types


def terms(types: Types, values: Sequence[Any], wide: bool = False) -> list[jax.Array]:
    """Every entry by a fixed random factor; what is not finite counts as a constant.

    Entries count by `asinh`, so that a large one does not hide all others.
    """
    dtype = types(np.float64 if wide else np.float32)
    found = []
    for number, value in enumerate(values):
        parts = [value.real, value.imag] if jnp.iscomplexobj(value) else [value]
        for part, v in enumerate(parts):
            v = v.astype(dtype)
            v = lax.select(lax.is_finite(v), lax.asinh(v), lax.full_like(v, 0.37))
            found.append(v * jnp.asarray(_factors(number, part, v.shape), dtype))
    return found


def summary_outside(value: Any) -> float:
    """The same sum of one array that has left the program; by NumPy, which compiles nothing."""
    value = np.asarray(value)
    total = 0.0
    for part, v in enumerate([value.real, value.imag] if np.iscomplexobj(value) else [value]):
        v = v.astype(np.float64)
        v = np.where(np.isfinite(v), np.arcsinh(v), 0.37)
        total += float(np.sum(v * _factors(0, part, v.shape)))
    return total


def _factors(number: int, part: int, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng((number, part))
    return rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape)


def summary(types: Types, values: Sequence[Any], wide: bool = False) -> jax.Array:
    """The sum of all terms."""
    return sum(jnp.sum(term) for term in terms(types, values, wide))
