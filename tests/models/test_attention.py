"""Attention against JAX's own, and numbers that a norm leaves as they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.models.attention import attend
from loren_jax.models.layers import as_it_is

BATCH, LENGTH, HEADS, SIZE = 2, 5, 6, 4


def inputs(shared: int, dtype=jnp.float32):
    """Queries, keys and values as a layer has them, and a mask with a row that may read nothing."""
    shapes = [(BATCH, LENGTH, heads * SIZE) for heads in (HEADS, shared, shared)]
    keys = jax.random.split(jax.random.key(0), 4)
    drawn = [jax.random.normal(k, s, dtype) for k, s in zip(keys, shapes, strict=False)]
    mask = jax.random.bernoulli(keys[3], 0.6, (BATCH, 1, LENGTH, LENGTH)).at[0, 0, 1].set(False)
    return drawn, mask


def reference(query, key, value, mask, scale):
    heads = [x.reshape(BATCH, LENGTH, -1, SIZE) for x in (query, key, value)]
    return jax.nn.dot_product_attention(*heads, mask=mask, scale=scale).reshape(query.shape)


@pytest.mark.parametrize(("shared", "scale"), [(HEADS, None), (2, 0.3), (1, None)])
def test_is_what_jax_computes(shared, scale):
    (query, key, value), mask = inputs(shared)
    found = attend(query, key, value, mask, head_size=SIZE, scale=scale)
    np.testing.assert_allclose(found, reference(query, key, value, mask, scale), atol=2e-6)


def test_half_precision_keeps_its_type_and_sums_in_float32():
    (query, key, value), mask = inputs(2, jnp.bfloat16)
    found = attend(query, key, value, mask, head_size=SIZE)
    assert found.dtype == jnp.bfloat16
    exact = reference(*(x.astype(jnp.float32) for x in (query, key, value)), mask, None)
    np.testing.assert_allclose(found.astype(jnp.float32), exact, atol=0.02)


def test_gradients_are_those_of_jax():
    (query, key, value), mask = inputs(2)
    ours = lambda *x: jnp.sum(jnp.sin(attend(*x, mask, head_size=SIZE)))
    theirs = lambda *x: jnp.sum(jnp.sin(reference(*x, mask, None)))
    found, wanted = (jax.grad(f, argnums=(0, 1, 2))(query, key, value) for f in (ours, theirs))
    for own, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(own, other, atol=5e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_numbers_before_a_norm_stay_as_they_are(dtype):
    x = jnp.asarray([0.1, -3e30, 1e-30, jnp.inf, 0.0], jnp.float32).astype(dtype)
    np.testing.assert_array_equal(jax.jit(as_it_is)(x), x)
