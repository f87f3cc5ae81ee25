"""When and where numbers are computed changes none of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax import noise, scheduling


def test_after_waits_but_changes_nothing():
    words = noise.words(noise.fold_all(noise.run_key(0), (2,)))
    for value in (
        jnp.ones((2, 3)),
        jnp.full((2,), jnp.nan),
        jnp.full((1,), jnp.inf),
        jnp.arange(3),
    ):
        np.testing.assert_array_equal(jax.jit(scheduling.after)(words, value), words)
    compiled = jax.jit(scheduling.after).lower(words, jnp.ones(3)).compile()
    assert "parameter(1)" in compiled.as_text(), "the dependence was optimised away"


def test_keys_wait_where_values_may_be_sharded():
    words = noise.words(noise.run_key(0))
    with scheduling.shard_over({"model": 2, "data": 1}):
        assert scheduling.parts(("model", "data")) == 2
        lowered = jax.jit(scheduling.after).lower(words, jnp.ones(3)).as_text()
        assert "optimization_barrier" in lowered
        assert float(scheduling.zero_after(jnp.ones(3))) == 0
    assert scheduling.parts(("model",)) == 1
    with scheduling.shard_over({"data": 1}):
        assert not scheduling.may_be_sharded(), "an axis of one device divides nothing"


@pytest.mark.parametrize("shape", [(1, 5), (7, 128), (700, 300)])
def test_blocks_change_no_number(shape, monkeypatch):
    key, numbers = noise.run_key(0), jnp.arange(shape[0])
    expected = noise.normal_rows(key, numbers, shape[1])
    assert expected.shape == shape
    monkeypatch.setattr(scheduling, "numbers_at_once", lambda: 1000)
    np.testing.assert_array_equal(noise.normal_rows(key, numbers, shape[1]), expected)
