"""Decoders in their published variants: golden logits that torch made, checkpoints.

`golden_*.json` hold the logits of transformers 5.23.0 with torch 2.13.0 for the weights and the
batch of `tiny_checkpoints.py`, those of `decoder_cases.py`'s later families of 5.24.0 with 2.14.1;
`test_golden_logits_are_the_oracles` recomputes them, and `python tests/models/golden_decoders.py
FAMILY` writes them anew.
"""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.decoder_cases import CASES, SHAPE_350M, SHARED, VARIANTS
from models.tiny_checkpoints import (
    CHOICES,
    DECODERS,
    TORCH_CLASSES,
    Tensors,
    TinyDecoder,
    decoder_batch,
    export,
    load,
    read_only,
    shapes_of,
    torch_logits,
)

from loren_jax.models import bind
from loren_jax.models.families import abstract_params
from loren_jax.models.weights import match_tensors

GOLDEN = {
    family: json.loads(Path(__file__).with_name(f"golden_{family}.json").read_text())
    for family in DECODERS
}


@pytest.mark.parametrize(("family", "case"), CASES)
def test_logits_are_golden(family, case):
    """Of both heads; a language model's choices are columns of its logits."""
    head, changes = CASES[family, case]
    ids, mask = decoder_batch()
    found = TinyDecoder(family, head, **changes).run(ids, mask)
    if head == "language_model":
        found, choices = found
        last = found.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
        wanted = found[np.arange(len(ids)), last][:, list(CHOICES)]
        np.testing.assert_allclose(choices, wanted, atol=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(read_only(found, mask), GOLDEN[family][case], atol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize(("family", "case"), CASES)
def test_golden_logits_are_the_oracles(family, case):
    head, changes = CASES[family, case]
    ids, mask = decoder_batch()
    oracle = TinyDecoder(family, head, **changes).torch(ids, mask)
    np.testing.assert_allclose(read_only(oracle, mask), GOLDEN[family][case], atol=1e-5)


@pytest.mark.oracle
def test_rotary_scaling_is_felt():
    """Without it the golden logits would be others: the case tests what it says."""
    plain = {**SHARED, "rope_scaling": None}
    oracle = TinyDecoder("llama", **plain).torch(*decoder_batch())
    assert np.abs(oracle - np.array(GOLDEN["llama"]["4 to 1, llama3, biases"])).max() > 1e-2


@pytest.mark.parametrize(
    ("family", "head", "changes", "tolerance"),
    [
        ("gpt2", "language_model", {}, 0.05),
        ("opt", "classification", {}, 0.05),
        ("llama", "classification", SHARED, 0.1),
        ("gemma3_text", "language_model", {}, 0.1),
    ],
)
def test_bfloat16_parameters_keep_their_type(family, head, changes, tolerance):
    """The logits are float32 and near those of the same weights in float32."""
    decoder, (ids, mask) = TinyDecoder(family, head, **changes), decoder_batch()
    narrow, wide = decoder.run(ids, mask, jnp.bfloat16), decoder.run(ids, mask)
    for found, wanted in zip(jax.tree.leaves(narrow), jax.tree.leaves(wide), strict=True):
        assert found.dtype == np.float32
        found, wanted = read_only(found, mask), read_only(wanted, mask)
        assert not np.array_equal(found, wanted)
        np.testing.assert_allclose(found, wanted, atol=tolerance)
    hidden = jax.eval_shape(
        lambda params: bind(decoder.config, params).encode(ids, mask), decoder.params(jnp.bfloat16)
    )
    assert hidden.dtype == jnp.bfloat16


def test_parameter_paths_and_shapes():
    norms = {"layers/attention_norm", "layers/mlp_norm"}
    assert shapes_of(TinyDecoder("gpt2").config) == {
        "word/embedding": (13, 8),
        "position/embedding": (9, 8),
        **{f"{path}/{leaf}": (2, 8) for path in norms for leaf in ("scale", "bias")},
        "layers/attention/input/kernel": (2, 8, 24),
        "layers/attention/input/bias": (2, 24),
        "layers/attention/output/kernel": (2, 8, 8),
        "layers/attention/output/bias": (2, 8),
        "layers/up/kernel": (2, 8, 32),
        "layers/up/bias": (2, 32),
        "layers/down/kernel": (2, 32, 8),
        "layers/down/bias": (2, 8),
        "norm/scale": (8,),
        "norm/bias": (8,),
        "score/kernel": (8, 3),
    }
    assert shapes_of(TinyDecoder("llama", "language_model").config) == {
        "word/embedding": (13, 32),
        "layers/attention_norm/scale": (2, 32),
        "layers/attention/query/kernel": (2, 32, 32),
        "layers/attention/key/kernel": (2, 32, 16),
        "layers/attention/value/kernel": (2, 32, 16),
        "layers/attention/output/kernel": (2, 32, 32),
        "layers/mlp_norm/scale": (2, 32),
        "layers/gate/kernel": (2, 32, 12),
        "layers/up/kernel": (2, 32, 12),
        "layers/down/kernel": (2, 12, 32),
        "norm/scale": (32,),
        "lm_head/kernel": (32, 13),
    }
    opt = shapes_of(TinyDecoder("opt", **SHAPE_350M).config)
    assert opt["word/embedding"] == (13, 6)
    assert opt["position/embedding"] == (11, 8)
    assert opt["project_in/kernel"] == (6, 8)
    assert opt["project_out/kernel"] == (8, 6)
    assert opt["score/kernel"] == (6, 3)
    assert "norm/scale" not in opt


PUBLISHED = {
    # The Hub's GPT-2: no prefix, the mask as a tensor, the tied head written out.
    "gpt2": (
        "transformer.",
        "",
        "transformer.wte.weight",
        {"h.0.attn.bias": np.ones((1, 1, 9, 9)), "h.0.attn.masked_bias": np.array(-1e4)},
    ),
    "opt": ("model.decoder.", "model.decoder.", "model.decoder.embed_tokens.weight", {}),
    "opt without the outer prefix": (
        "model.decoder.",
        "decoder.",
        "model.decoder.embed_tokens.weight",
        {},
    ),
    # The frequencies that old checkpoints hold.
    "llama": (
        "model.",
        "model.",
        "model.embed_tokens.weight",
        {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4)},
    ),
}


@pytest.mark.parametrize("published", PUBLISHED)
def test_published_checkpoint_fits_both_heads(published):
    family = published.split()[0]
    prefix, written, word, more = PUBLISHED[published]
    rename = lambda name: written + name.removeprefix(prefix) if name.startswith(prefix) else name
    tensors = TinyDecoder(family, "language_model").tensors.items()
    tensors = Tensors((rename(name), tensor) for name, tensor in tensors)
    tensors |= {name: tensor.astype(np.float32) for name, tensor in more.items()}
    tensors.setdefault("lm_head.weight", tensors[rename(word)])
    for head in ("classification", "language_model"):
        tiny = TinyDecoder(family, head)
        matched = match_tensors(tensors, tiny.table, abstract_params(tiny.config))
        assert matched[word] == rename(word)
        assert "score.weight" not in matched


def exported(decoder, tmp_path):
    """The directory, and its model as we read it."""
    head, source = decoder.config.head, decoder.write(tmp_path / "source")
    model = load(source, head)._replace(config=decoder.config, params=decoder.params())
    directory = export(tmp_path / "exported", source, model)
    return directory, load(directory, head)


@pytest.mark.parametrize(("family", "head"), TORCH_CLASSES)
def test_exports_come_back_bit_for_bit(family, head, tmp_path):
    decoder = TinyDecoder(family, head, **VARIANTS[family])
    directory, model = exported(decoder, tmp_path)
    labels = decoder.config.num_labels  # which a language model's directory does not tell
    assert dataclasses.replace(model.config, num_labels=labels) == decoder.config
    jax.tree.map(np.testing.assert_array_equal, model.params, decoder.params())
    raw = json.loads((directory / "config.json").read_text())
    assert raw["architectures"] == [TORCH_CLASSES[family, head]]
    told = "pad_token_id" if head == "classification" else "tie_word_embeddings"
    assert raw[told] == getattr(decoder.config, told)


@pytest.mark.oracle
@pytest.mark.parametrize(("family", "head"), TORCH_CLASSES)
def test_transformers_loads_the_export_and_computes_the_same(family, head, tmp_path):
    pytest.importorskip("torch")
    import transformers

    decoder = TinyDecoder(family, head, **VARIANTS[family])
    directory, _ = exported(decoder, tmp_path)
    auto = {
        "classification": transformers.AutoModelForSequenceClassification,
        "language_model": transformers.AutoModelForCausalLM,
    }[head]
    model, loading = auto.from_pretrained(directory, output_loading_info=True)
    assert type(model).__name__ == TORCH_CLASSES[family, head]
    assert not loading["unexpected_keys"]
    assert set(loading["missing_keys"]) <= {"lm_head.weight"}
    ids, mask = decoder_batch()
    found = torch_logits(model.eval(), ids, mask)
    wanted = decoder.run(ids, mask)
    wanted = wanted if head == "classification" else wanted[0]
    np.testing.assert_allclose(read_only(found, mask), read_only(wanted, mask), atol=1e-5)
