"""One number of many values, in which every entry matters."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .precision import Types


def terms(types: Types, values: Sequence[Any], wide: bool = False) -> list[jax.Array]:
    """Every entry by a fixed random factor; what is not finite counts as a constant.

    Large numbers count by their logarithm, so that one of them does not hide all others.
    """
    dtype = types(np.float64 if wide else np.float32)
    found = []
    for number, value in enumerate(values):
        parts = [value.real, value.imag] if jnp.iscomplexobj(value) else [value]
        for part, v in enumerate(parts):
            v = v.astype(dtype)
            v = jnp.where(jnp.isfinite(v), v, jnp.asarray(0.37, dtype))
            size = jnp.maximum(jnp.abs(v), jnp.asarray(100, dtype))
            v = jnp.where(jnp.abs(v) < 100, v, jnp.sign(v) * (100 + jnp.log(size / 100)))
            factors = np.random.default_rng((number, part)).uniform(0.5, 1.5, v.shape)
            signs = np.random.default_rng((number, part, 1)).choice([-1, 1], v.shape)
            found.append(v * jnp.asarray(factors * signs, dtype))
    return found


def summary(types: Types, values: Sequence[Any], wide: bool = False) -> jax.Array:
    """The sum of all terms."""
    return sum(jnp.sum(term) for term in terms(types, values, wide))
