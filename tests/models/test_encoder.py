"""Encoders with each head: the oracle's logits, precision, choices, exports.

`golden_encoders.json` holds logits that transformers 5.23.0 with torch 2.13.0 gives for the tiny
checkpoints below; `test_golden_logits_are_the_oracles` recomputes them, and writes the file anew
where the environment variable WRITE_GOLDEN is set. (BERT's classifiers are in `test_bert.py`.)
"""

import functools
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.tiny_checkpoints import (
    ENCODERS,
    TinyCheckpoint,
    export,
    load,
    padded_batch,
    read_only,
    torch_logits,
    torch_model,
)

from loren_jax.diagnostics import dense_leaves
from loren_jax.models import (
    apply_function,
    bind,
    choice_function,
    init_params,
    load_classifier,
    load_language_model,
    load_prompted,
)
from loren_jax.models.families import abstract_params

GOLDEN = Path(__file__).with_name("golden_encoders.json")
CASES = [
    ("bert", "language_model"),
    ("roberta", "classification"),
    ("roberta", "language_model"),
    ("distilbert", "classification"),
    ("distilbert", "language_model"),
    ("modernbert", "classification"),
    ("modernbert", "language_model"),
]
FAMILIES = list(ENCODERS)


@functools.cache
def checkpoint(family, head, pooling=None):
    """A checkpoint that no test changes."""
    return TinyCheckpoint(ENCODERS[family], head=head, pooling=pooling)


def batch(family):
    ids, mask, types = padded_batch(2)
    if family == "modernbert":  # of which transformers reads the first token, be it padding
        ids, mask = ids.at[2].set(ids[2, ::-1]), mask.at[2].set(mask[2, ::-1])
    return (ids, mask, types) if family == "bert" else (ids, mask)


@functools.cache
def compiled(apply):
    return jax.jit(apply)


def run(model, *batch):
    return np.asarray(compiled(model.apply)(model.params, *batch))


def some(logits, family):
    """All class logits; of token logits those of a few tokens, so that the file stays small.

    Those of padding mean nothing: a window may show it no token at all.
    """
    logits = read_only(logits, np.asarray(batch(family)[1])) if family == "modernbert" else logits
    return logits if logits.ndim == 2 else logits[:, :, ::9]


@pytest.mark.parametrize(("family", "head"), CASES)
def test_logits_are_golden(family, head, tmp_path):
    golden = json.loads(GOLDEN.read_text())[f"{family}/{head}"]
    model = load(checkpoint(family, head).write(tmp_path), head)
    np.testing.assert_allclose(some(run(model, *batch(family)), family), golden, atol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize(("family", "head"), CASES)
def test_golden_logits_are_the_oracles(family, head, tmp_path):
    tiny = checkpoint(family, head)
    model = torch_model(tiny.write(tmp_path), tiny.export.architecture)
    oracle = torch_logits(model, *batch(family))
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("WRITE_GOLDEN"):
        golden[f"{family}/{head}"] = some(oracle, family).round(7).tolist()
        GOLDEN.write_text(json.dumps(golden).replace("], [", "],\n["))
    np.testing.assert_allclose(some(oracle, family), golden[f"{family}/{head}"], atol=1e-5)
    found = some(run(load(tmp_path, head), *batch(family)), family)
    np.testing.assert_allclose(found, some(oracle, family), atol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize(("family", "head"), CASES)
def test_checkpoints_go_to_transformers_and_back(family, head, tmp_path):
    """What we export it loads without a remark, and what it saves we load, bit for bit."""
    model = load(checkpoint(family, head).write(tmp_path / "source"), head)
    tuned = model._replace(params=jax.tree.map(lambda leaf: leaf * 1.125, model.params))
    out = export(tmp_path / "out", tmp_path / "source", tuned)
    stock = torch_model(out, checkpoint(family, head).export.architecture)
    oracle = torch_logits(stock, *batch(family))
    found = some(run(tuned, *batch(family)), family)
    np.testing.assert_allclose(found, some(oracle, family), atol=1e-5)
    stock.save_pretrained(tmp_path / "saved")
    saved = load(tmp_path / "saved", head)
    jax.tree.map(np.testing.assert_array_equal, saved.params, tuned.params)


NAMED = {
    **{"bert": "Bert", "roberta": "Roberta", "distilbert": "DistilBert"},
    "modernbert": "ModernBert",
}
BERTS = [("bert", "classification", pooling) for pooling in ("cls", "mean")]


@pytest.mark.each_value
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("family", "head", "pooling"),
    [*((*case, None) for case in CASES), *BERTS, ("modernbert", "classification", "mean")],
)
def test_exports_come_back_bit_for_bit(family, head, pooling, dtype, tmp_path):
    source = checkpoint(family, head, pooling).write(tmp_path / "source")
    model = load(source, head, dtype=dtype)
    moved = jax.tree.map(lambda leaf: leaf * 1.125, model.params)
    out = export(tmp_path / "out", source, model._replace(params=moved))
    back = load(out, head, dtype=dtype)
    jax.tree.map(np.testing.assert_array_equal, back.params, moved)
    assert back._replace(params={}) == model._replace(params={})
    raw = json.loads((out / "config.json").read_text())
    named = NAMED[family]
    pooled = "MeanPooled" * (pooling == "mean" and family == "bert")
    ending = "SequenceClassification" if head == "classification" else "MaskedLM"
    assert raw["architectures"] == [f"{pooled}{named}For{ending}"]
    assert raw["dtype"] == jnp.dtype(dtype).name
    assert ("id2label" in raw) == (head == "classification")


@pytest.mark.parametrize(
    ("family", "head", "pooling"),
    [
        ("bert", "language_model", None),
        ("roberta", "classification", None),
        ("distilbert", "classification", None),
        ("modernbert", "classification", "mean"),
        *BERTS,
    ],
)
def test_bfloat16_parameters_keep_their_type(family, head, pooling, tmp_path):
    directory = checkpoint(family, head, pooling).write(tmp_path)
    wide, narrow = load(directory, head), load(directory, head, dtype=jnp.bfloat16)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(narrow.params)} == {"bfloat16"}
    network = bind(narrow.config, narrow.params)
    hidden = jax.eval_shape(network.encode, *batch(family))
    logits = run(narrow, *batch(family))
    assert (hidden.dtype, logits.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(logits, run(wide, *batch(family)), atol=0.15)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_choices_are_the_token_logits_at_the_first_mask(family, tmp_path):
    directory = checkpoint(family, "language_model").write(tmp_path)
    ids, mask, *types = batch(family)
    ids = ids.at[0, 6].set(5).at[1, 0].set(5).at[2, 3].set(5).at[2, 5].set(5)
    whole = run(load_language_model(directory), ids, mask, *types)
    model = load_prompted(directory, [7, 29, 4], label_names=["a", "b", "c"])
    choices = run(model, ids, mask, *types)
    expected = whole[np.arange(3), [6, 0, 3]][:, [7, 29, 4]]
    np.testing.assert_allclose(choices[:3], expected, atol=1e-6)
    assert np.isnan(choices[3]).all()  # a text that was cut before its mask token
    assert model.label_names == ("a", "b", "c")
    assert model.config.num_labels == 3


def test_choices_make_no_logits_of_all_tokens():
    config = checkpoint("bert", "language_model").config
    apply = choice_function(config, (7, 29))
    assert choice_function(config, [7, 29]) is apply
    program = str(jax.make_jaxpr(apply)(abstract_params(config), *batch("bert")))
    assert "f32[4,2]" in program
    assert "[4,7,30]" not in program


@pytest.mark.parametrize(("family", "head"), CASES)
def test_no_weight_is_made_dense_by_perturbed_evaluation(family, head):
    config = checkpoint(family, head).config
    narrow = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16)
    params = jax.tree.map(narrow, abstract_params(config))
    applied = [apply_function(config)]
    if head == "language_model":
        applied.append(choice_function(config, (7, 29)))
    for apply in applied:
        loss = lambda params, apply=apply: apply(params, *batch(family)).sum()
        assert dense_leaves(loss, params) == []


OUTPUT = {
    "bert": "cls.predictions.decoder.weight",
    "roberta": "lm_head.decoder.weight",
    "distilbert": "vocab_projector.weight",
    "modernbert": "decoder.weight",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_checkpoint_of_a_language_model_becomes_a_classifier(family, tmp_path):
    tiny = TinyCheckpoint(ENCODERS[family], head="language_model")
    word = next(t for n, t in tiny.tensors.items() if "_embeddings.weight" in n and len(t) == 30)
    tiny.tensors[OUTPUT[family]] = word.copy()  # as pytorch_model.bin has it
    model = load_classifier(tiny.write(tmp_path), num_labels=4)
    np.testing.assert_array_equal(model.params["embeddings"]["word"]["embedding"], word)
    head = model.params["classifier"]
    kernels = [leaf for leaf in jax.tree.leaves(head) if leaf.ndim == 2]
    assert kernels[-1].shape == (12, 4)
    assert all(0.005 < kernel.std() < 0.05 for kernel in kernels)
    both = load_language_model(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, both.params["layers"], model.params["layers"])


@pytest.mark.parametrize("family", FAMILIES)
def test_output_layer_is_never_drawn_anew(family, tmp_path):
    tiny = TinyCheckpoint(ENCODERS[family], head="classification")
    with pytest.raises(ValueError, match=r"missing.*(cls\.pred|lm_head|vocab_|decoder\.bias)"):
        load_language_model(tiny.write(tmp_path / "classifier"))
    with pytest.raises(ValueError, match=r"missing.*(cls\.pred|lm_head|vocab_|decoder\.bias)"):
        load_language_model(tiny.without_head().write(tmp_path / "encoder"))
    assert load_classifier(tmp_path / "encoder", num_labels=2).config.num_labels == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_untied_output_layers_and_longer_inputs_are_refused(family, tmp_path):
    tiny = TinyCheckpoint(ENCODERS[family], head="language_model")
    model = load_language_model(tiny.write(tmp_path))
    ids = jnp.full((1, model.config.max_length + 1), 4)
    with pytest.raises(ValueError, match=rf"has {ids.shape[1]} tokens.*truncate"):
        model.apply(model.params, ids, ids)
    tiny.raw["tie_word_embeddings"] = False
    with pytest.raises(ValueError, match="tie_word_embeddings=False"):
        load_language_model(tiny.write(tmp_path))


def roberta(**changes):
    """A network with padding token 1, of which only the embeddings are looked at."""
    tiny = TinyCheckpoint({**ENCODERS["roberta"], "pad_token_id": 1, **changes})
    return bind(tiny.config, init_params(tiny.config))


def test_positions_are_counted_behind_the_paddings_own():
    network = roberta()
    ids = jnp.array([[1, 1, 5, 6], [5, 6, 1, 1], [5, 1, 6, 7]])
    every = jnp.ones_like(ids, bool)
    assert network.positions(ids, every).tolist() == [[1, 1, 2, 3], [2, 3, 1, 1], [2, 1, 3, 4]]
    unread = every.at[0, 2].set(False)  # padding of another token
    assert network.positions(ids, unread)[0].tolist() == [1, 1, 1, 2]


def test_the_longest_text_gets_the_last_position():
    network = roberta()
    ids = jnp.full((1, network.config.max_length), 5)
    assert (network.config.max_length, int(network.positions(ids, ids > 0).max())) == (8, 9)


def test_segments_are_looked_at_only_where_there_are_several():
    ids = jnp.full((1, 4), 5)
    types = jnp.array([[0, 0, 1, 1]])
    for kinds in (1, 2):
        network = roberta(type_vocab_size=kinds)
        embedded = network.embeddings(ids, network.positions(ids, ids > 0), types)
        plain = network.embeddings(ids, network.positions(ids, ids > 0), None)
        assert np.allclose(embedded, plain) == (kinds == 1)


def test_distilbert_looks_at_no_segments():
    config = checkpoint("distilbert", "classification").config
    ids = jnp.ones((2, 3), jnp.int32)
    apply = apply_function(config)
    with_segments = jax.make_jaxpr(apply)(abstract_params(config), ids, ids, 5 * ids)
    without = jax.make_jaxpr(apply)(abstract_params(config), ids, ids)
    assert len(with_segments.eqns) == len(without.eqns)
