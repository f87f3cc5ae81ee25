"""The loss of a classifier, against its formula."""

import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.objectives import cross_entropy


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_cross_entropy_is_float32(dtype):
    logits = jnp.asarray([[3.0, -1.0], [0.5, 0.25]], dtype)
    losses = cross_entropy(logits, np.array([0, 1], np.int32))
    wide = np.asarray(logits, np.float64)
    expected = np.log(np.exp(wide).sum(axis=1)) - wide[[0, 1], [0, 1]]
    assert losses.dtype == jnp.float32
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
