"""Float32 state and updates around any transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from loren_jax.transforms.precision import in_float32

PARAMS = {"a": jnp.asarray([1.0, -2.0], jnp.bfloat16), "n": jnp.asarray([3], jnp.int32)}
GRADIENT = {"a": jnp.asarray([0.5, 3.0], jnp.bfloat16), "n": jnp.asarray([0], jnp.int32)}


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_equals_the_transformation_in_float32(dtype):
    """Three steps of Adam, weight decay and a trust ratio, which look at the parameters too."""
    inner = optax.chain(
        optax.scale_by_adam(), optax.add_decayed_weights(0.1), optax.scale_by_trust_ratio()
    )
    tx = in_float32(inner)
    cast = lambda x, dtype: x.astype(dtype)
    params, gradient = (cast(x["a"], dtype) for x in (PARAMS, GRADIENT))
    state, expected_state = tx.init(params), inner.init(cast(params, jnp.float32))
    for _ in range(3):
        updates, state = tx.update(gradient, state, params)
        expected, expected_state = inner.update(
            cast(gradient, jnp.float32), expected_state, cast(params, jnp.float32)
        )
        np.testing.assert_array_equal(updates, expected)
    assert updates.dtype == jnp.float32
    for leaf in jax.tree.leaves(state):
        assert leaf.dtype in (jnp.float32, jnp.int32)


def test_second_moment_decays_where_that_in_bfloat16_stands_still():
    zero, one = jnp.zeros(1, jnp.bfloat16), jnp.ones(1, jnp.bfloat16)

    def second_moment(tx):
        state = optax.tree.set(tx.init(one), nu=jnp.ones_like(optax.tree.get(tx.init(one), "nu")))
        body = lambda _, state: tx.update(zero, state)[1]
        return float(optax.tree.get(jax.lax.fori_loop(0, 500, body, state), "nu")[0])

    assert second_moment(optax.scale_by_adam()) == 1.0
    np.testing.assert_allclose(
        second_moment(in_float32(optax.scale_by_adam())), 0.999**500, rtol=1e-4
    )


def test_integers_none_and_extra_arguments_pass():
    seen = {}

    def update(updates, state, params=None, *, value):
        seen.update(updates=updates, params=params, value=value)
        return updates, state

    tx = in_float32(optax.GradientTransformationExtraArgs(lambda params: params, update))
    state = tx.init(PARAMS)
    assert (state["a"].dtype, state["n"].dtype) == (jnp.float32, jnp.int32)
    tx.update(None, state, value=7)
    assert seen == {"updates": None, "params": None, "value": 7}
    updates, _ = tx.update(GRADIENT, state, PARAMS, value=8)
    assert updates["n"] is GRADIENT["n"]
    assert optax.apply_updates(PARAMS, updates)["a"].dtype == jnp.bfloat16
