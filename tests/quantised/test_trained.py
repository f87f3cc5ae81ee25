"""What is trained beside quantised matrices, or of them: what the floats would give."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from loren_jax import lora, mezo
from loren_jax.evaluation import materialised, perturbed
from loren_jax.parts import trained
from loren_jax.quantised import Quantised, as_dense, is_quantised
from loren_jax.quantised.absmax import quantise_rows

LAYERS, WIDE, VOCABULARY, RANK, SCALE = 3, 32, 11, 2, 0.5
TOKENS = jnp.asarray([[0, 3, 7, 1], [1, 1, 2, 5]])


def randomised(adapters, seed=0):
    """Adapters that change something."""
    rng = np.random.default_rng(seed)
    add = lambda x: x + jnp.asarray(0.3 * rng.normal(size=x.shape), x.dtype)
    return jax.tree.map(add, adapters)


def quantised_params():
    """A table, a stack and a head in few bits, beside a bias."""
    rng = np.random.default_rng(3)

    def packed(kernel, *shape):
        rows = rng.normal(size=(int(np.prod(shape[:-1])), shape[-1])).astype(np.float32)
        form, fields = quantise_rows(rows / np.sqrt(WIDE), "int4")
        arrays = {n: jnp.asarray(x).reshape(*shape[:-1], -1) for n, x in fields.items()}
        return Quantised(**arrays, name=form.name, kernel=kernel)

    layers = {"kernel": packed(True, LAYERS, WIDE, WIDE), "bias": jnp.zeros((LAYERS, WIDE))}
    return {"embedding": packed(False, VOCABULARY, WIDE), "layers": layers}


def quantised_model(params, ids):
    def layer(x, p):
        return x + jnp.tanh(p["kernel"].product(x) + p["bias"][None, None, :]), None

    x, _ = jax.lax.scan(layer, params["embedding"].look_up(ids), params["layers"])
    return params["embedding"].product(x)


def test_adapters_of_a_quantised_model_are_those_of_its_floats():
    params = quantised_params()
    floats = as_dense(params)
    options = {"rank": RANK, "full": "*/bias", "key": 4}
    targets = ("*/kernel", "embedding")
    adapters = lora.init(params, targets, **options)
    jax.tree.map(np.testing.assert_array_equal, adapters, lora.init(floats, targets, **options))
    adapters = randomised(adapters)
    made = jax.jit(lora.adapt(quantised_model, scale=SCALE))(params, adapters, TOKENS)
    merged = lora.merge(params, adapters, scale=SCALE)
    np.testing.assert_allclose(quantised_model(merged, TOKENS), made, rtol=1e-4, atol=1e-4)
    expected = lora.merge(floats, adapters, scale=SCALE)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        as_dense(merged),
        expected,
    )
    assert merged["layers"]["kernel"].codes is params["layers"]["kernel"].codes


def test_a_quantised_matrix_that_is_trained_in_full_is_a_float():
    params = quantised_params()
    adapters = lora.init(params, (), rank=1, full="embedding")
    np.testing.assert_array_equal(adapters["embedding"], params["embedding"].to_dense())


@pytest.mark.parametrize("rank", [1, None])
def test_perturbed_scales_and_factors_of_a_quantised_model_are_those_of_perturbed_copies(rank):
    adapters = randomised(lora.init(quantised_params(), ("*/kernel", "embedding"), rank=RANK))
    base = quantised_params()
    wide = lambda m: dataclasses.replace(m, scales=m.scales.astype(jnp.float32))
    scaled = jax.tree.map(lambda x: wide(x) if is_quantised(x) else x, base, is_leaf=is_quantised)
    by_factors = lambda adapters: jnp.mean(lora.adapt(quantised_model)(base, adapters, TOKENS) ** 2)
    by_scales = lambda params: jnp.mean(quantised_model(params, TOKENS) ** 2)
    chosen = lambda path: path.endswith("scales")
    for loss, params, mask in ((by_factors, adapters, None), (by_scales, scaled, chosen)):
        found = []
        for evaluation in (perturbed, materialised):
            made = mezo(0.1, rank=rank, perturbation_scale=1e-2, evaluation=evaluation)
            optimizer = trained(made, mask)
            # One program: outside of jit each operation is one.
            step = lambda params, of=optimizer, f=loss: of.update(
                None, of.init(params), params, value_fn=f
            )
            updates, state = jax.jit(step)(params)
            found.append(optax.tree.get(state, "losses"))
        np.testing.assert_allclose(*found, rtol=1e-4)
        moved = optax.apply_updates(params, updates)
        if mask is not None:  # codes are as they were, scales are not
            jax.tree.map(
                lambda a, b: np.testing.assert_array_equal(a.codes, b.codes),
                *({"a": t["embedding"]} for t in (moved, params)),
                is_leaf=is_quantised,
            )
            assert np.any(moved["embedding"].scales != params["embedding"].scales)
