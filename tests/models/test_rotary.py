"""Rotary embeddings against their definition by complex numbers, and how files describe them."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.models.rotary import Rotary, rotate

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}


def test_rotation_multiplies_by_a_unit_complex_number():
    rotary = Rotary(theta=30.0)
    x = np.random.default_rng(0).standard_normal((2, 5, 3 * 8)).astype(np.float32)
    positions = np.array([0, 1, 2, 5, 9])
    found = rotate(jnp.asarray(x), rotary.angles(positions, 8))
    heads = x.reshape(2, 5, 3, 8)
    turn = np.exp(1j * positions[:, None] * 30.0 ** (-np.arange(4) / 4))
    turned = (heads[..., :4] + 1j * heads[..., 4:]) * turn[None, :, None]
    wanted = np.concatenate([turned.real, turned.imag], axis=-1).reshape(x.shape)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_products_depend_on_the_distance_alone():
    rotary = Rotary()
    query, key = np.random.default_rng(1).standard_normal((2, 1, 16)).astype(np.float32)

    def product(there, here):
        turned = rotate(jnp.asarray(query[None]), rotary.angles(np.array([there]), 16))
        read = rotate(jnp.asarray(key[None]), rotary.angles(np.array([here]), 16))
        return float(jnp.sum(turned * read))

    assert product(7, 3) == pytest.approx(product(104, 100), abs=1e-4)
    assert product(7, 3) != pytest.approx(product(7, 4), abs=1e-2)


def test_angles_are_float32_and_the_rotation_keeps_the_type():
    angles = Rotary().angles(np.arange(3), 4)
    assert {part.dtype.name for part in angles} == {"float32"}
    assert rotate(jnp.ones((1, 3, 8), jnp.bfloat16), angles).dtype == jnp.bfloat16


def test_llama3_slows_the_slow_pairs_alone():
    plain = Rotary(theta=500000.0).frequencies(128)
    scaled = Rotary.from_hugging_face({"rope_theta": 500000.0, "rope_scaling": LLAMA3})
    ratio = scaled.frequencies(128) / plain
    turns = 8192 * plain / (2 * np.pi)
    np.testing.assert_allclose(ratio[turns > 4], 1, rtol=1e-6)
    np.testing.assert_allclose(ratio[turns < 1], 1 / 8, rtol=1e-6)
    between = ratio[(turns > 1) & (turns < 4)]
    assert len(between) > 2
    assert (np.diff(between) < 0).all()


@pytest.mark.oracle
@pytest.mark.parametrize(
    "scaling",
    [None, {"rope_type": "linear", "factor": 4.0}, LLAMA3, YARN, {**YARN, "beta_fast": 8.0}],
    ids=lambda s: str(s)[:24],
)
def test_frequencies_agree_with_transformers(scaling):
    pytest.importorskip("torch")
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    sizes = {"hidden_size": 1024, "num_attention_heads": 8, "max_position_embeddings": 131072}
    raw = {**sizes, "rope_theta": 500000.0, "rope_scaling": scaling and dict(scaling)}
    oracle = LlamaRotaryEmbedding(LlamaConfig(**raw))
    found = Rotary.from_hugging_face(raw)
    np.testing.assert_allclose(found.frequencies(128), oracle.inv_freq.numpy(), rtol=2e-6)
    assert found.attention_factor == pytest.approx(oracle.attention_scaling)


def test_yarn_slows_the_slow_pairs_and_scales_the_heads():
    plain = Rotary(theta=1e6)
    scaled = Rotary.from_hugging_face({"rope_theta": 1e6, "rope_scaling": YARN})
    ratio = scaled.frequencies(128) / plain.frequencies(128)
    np.testing.assert_allclose(ratio[[0, -1]], [1, 1 / 4], rtol=1e-6)
    assert (np.diff(ratio) <= 1e-7).all()
    wide, narrow = (np.asarray(r.angles(np.zeros(1, int), 128)[0]) for r in (scaled, plain))
    np.testing.assert_allclose(wide / narrow, 0.1 * np.log(4) + 1, rtol=1e-6)


@pytest.mark.parametrize(
    "raw",
    [
        {"rope_theta": 5e5, "rope_scaling": LLAMA3},
        {"rope_parameters": {"rope_theta": 5e5, **LLAMA3}},
        {
            "rope_theta": 5e5,
            "rope_scaling": {("type" if k == "rope_type" else k): v for k, v in LLAMA3.items()},
        },
    ],
    ids=["transformers 4", "transformers 5", "before rope_type"],
)
def test_every_spelling_means_the_same(raw):
    wanted = Rotary(theta=5e5, kind="llama3", factor=8.0, original_length=8192)
    assert Rotary.from_hugging_face(raw) == wanted
    said = raw.get("rope_parameters") or raw["rope_scaling"]
    untold = {name: entry for name, entry in said.items() if not name.startswith("original")}
    own = {**raw, "rope_scaling": untold, "max_position_embeddings": 77}  # then the model's
    assert Rotary.from_hugging_face(own) == dataclasses.replace(wanted, original_length=77)


def test_layers_of_each_type_have_their_own():
    """In transformers 4 the scaling is of the global layers alone, as in Gemma 3, or of all."""
    old = {"rope_theta": 7.0, "local": 3.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}
    whole = {"rope_type": "linear", "factor": 2.0, "rope_theta": 7.0}
    new = {"rope_parameters": {"full_attention": whole, "sliding_attention": {"rope_theta": 3.0}}}
    of = lambda raw, kind, base, scaled: Rotary.of_layers(
        raw, f"{kind}_attention", base=base, theta=5.0, scaled=scaled
    )
    for raw in (old, new):
        wanted = Rotary(theta=7.0, kind="linear", factor=2.0)
        assert of(raw, "full", "rope_theta", True) == wanted
        assert of(raw, "sliding", "local", False) == Rotary(theta=3.0)
    assert of(old, "sliding", "local", True) == Rotary(theta=3.0, kind="linear", factor=2.0)
    assert of({}, "sliding", "local", True) == Rotary(theta=5.0)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"rope_scaling": {"rope_type": "longrope", "factor": 2.0}}, "rope_type='longrope'.*yarn"),
        ({"rope_scaling": {**YARN, "mscale": 1.0}}, r"mscale=1\.0 is not supported"),
        ({"rope_scaling": {**YARN, "truncate": False}}, "truncate=False is not supported"),
        ({"rope_scaling": {"rope_type": "linear"}}, r"'linear'.*lacks \['factor'\]"),
        ({"partial_rotary_factor": 0.5}, r"partial_rotary_factor=0\.5"),
        ({"rope_theta": -1.0}, r"rope_theta=-1\.0"),
        (
            {"rope_scaling": {**LLAMA3, "high_freq_factor": 1.0}},
            r"high_freq_factor=1\.0 must exceed",
        ),
    ],
)
def test_unsupported_descriptions_are_refused(raw, message):
    with pytest.raises(ValueError, match=message):
        Rotary.from_hugging_face(raw)


def test_odd_heads_are_refused():
    with pytest.raises(ValueError, match="head_dim=5 must be even"):
        Rotary().frequencies(5)
