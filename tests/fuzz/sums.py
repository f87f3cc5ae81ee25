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
            rng = np.random.default_rng((number, part))
            factors = rng.uniform(0.5, 1.5, v.shape) * rng.choice([-1, 1], v.shape)
            found.append(v * jnp.asarray(factors, dtype))
    return found


def summary(types: Types, values: Sequence[Any], wide: bool = False) -> jax.Array:
    """The sum of all terms."""
    return sum(jnp.sum(term) for term in terms(types, values, wide))
