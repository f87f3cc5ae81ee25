"""Padding is what the mask says, and an export tells the token that training padded with."""

import json

import jax
import numpy as np
import pytest
from models.tiny_checkpoints import TinyDecoder, export, load, torch_logits
from prompt_tokenizers import byte_tokenizer

from loren_jax.checkpoints import checkpoint_tokenizer
from loren_jax.checkpoints.special_tokens import padding_token
from loren_jax.models import load_classifier
from loren_jax.tasks import Examples, tokenize

TEXTS = ("It was good", "a", "It was bad and so on and so on")


def model(directory, family, *, pad=None, config_pad=None, head="classification", **files):
    tokenizer = byte_tokenizer(pad=pad, ending=True)
    checkpoint = TinyDecoder(
        family, head, vocab_size=len(tokenizer), **LONGER[family], pad_token_id=config_pad
    )
    checkpoint.write(directory)
    tokenizer.save_pretrained(directory)
    for name, content in files.items():
        (directory / name.replace("__", ".")).write_text(json.dumps(content))
    return directory


LONGER = {
    "gpt2": {"n_positions": 64},
    "opt": {"max_position_embeddings": 64},
    "llama": {},
}


def tokens(directory, texts=TEXTS):
    labels = np.zeros(len(texts), np.int32)
    return tokenize(str(directory), Examples(tuple((t,) for t in texts), labels, ("a", "b")), 64)


def logits(directory, texts):
    loaded, batch = load_classifier(directory), tokens(directory, texts)
    apply = jax.jit(loaded.apply)
    return np.asarray(apply(loaded.params, batch.input_ids, batch.attention_mask))


@pytest.mark.each_value
@pytest.mark.parametrize("family", LONGER)
@pytest.mark.parametrize("declared", [0, -1, None, 5])
def test_logits_of_a_text_do_not_depend_on_the_others(family, declared, tmp_path):
    directory = model(tmp_path, family, config_pad=declared)
    alone = np.concatenate([logits(directory, [text]) for text in TEXTS])
    np.testing.assert_allclose(logits(directory, TEXTS), alone, atol=1e-5)


@pytest.mark.parametrize("family", LONGER)
@pytest.mark.parametrize("pad", [None, "<bos>"])
@pytest.mark.parametrize("head", ["classification", "language_model"])
def test_export_tells_the_padding(family, pad, head, tmp_path):
    source = model(tmp_path / "source", family, pad=pad, head=head)
    out = exported(source, tmp_path / "out", head)
    wanted = tokens(source).input_ids[1, -1]
    assert json.loads((out / "config.json").read_text())["pad_token_id"] == wanted
    assert checkpoint_tokenizer(out).pad_token_id == wanted
    assert checkpoint_tokenizer(out).pad_token == (pad or "<eos>")
    assert padding_token(out) == (pad or "<eos>", wanted, True)


@pytest.mark.parametrize("family", LONGER)
def test_model_named_by_its_weights_is_padded_as_its_directory(family, tmp_path):
    source = model(tmp_path / "source", family, config_pad=0)
    out = exported(source / "model.safetensors", tmp_path / "out", "classification")
    named, whole = (load_classifier(path) for path in (source / "model.safetensors", source))
    assert named.config == whole.config
    assert padding_token(out) == ("<eos>", whole.config.pad_token_id, True)


def exported(source, directory, head):
    return export(directory, source, load(source, head))


def test_padding_that_the_settings_alone_number_is_found(tmp_path):
    settings = {"pad_token": "<pad>", "added_tokens_decoder": {"7": {"content": "<pad>"}}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    # Which transformers reads only where the settings number no tokens.
    (tmp_path / "special_tokens_map.json").write_text('{"pad_token": "a"}')
    assert padding_token(tmp_path) == ("<pad>", 7, True)
    del settings["added_tokens_decoder"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert padding_token(tmp_path) == ("a", 0, True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", {"model": None}),
        ("tokenizer.json", {"added_tokens": [{"content": "</s>"}]}),
        ("tokenizer.json", {"added_tokens": ["</s>"]}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "</s>"}}}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"1": "</s>"}}),
    ],
)
def test_tokenizer_of_another_form_is_told_by_its_directory(name, content, tmp_path):
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"^{tmp_path}: the tokenizer's files do not .*; fetch"):
        padding_token(tmp_path)


@pytest.mark.parametrize("content", ['{"</s>": "x"}', "{}"])
def test_token_without_a_number_is_none(content, tmp_path):
    (tmp_path / "vocab.json").write_text(content)
    (tmp_path / "tokenizer_config.json").write_text('{"added_tokens_decoder": null}')
    assert padding_token(tmp_path) is None


@pytest.mark.oracle
@pytest.mark.parametrize("family", LONGER)
@pytest.mark.parametrize("declared", [0, -1, None])
def test_transformers_pads_the_export_as_training_did(family, declared, tmp_path):
    pytest.importorskip("torch")
    import transformers

    source = model(tmp_path / "source", family, config_pad=declared)
    out = exported(source, tmp_path / "out", "classification")
    theirs = transformers.AutoTokenizer.from_pretrained(out)
    batch = theirs(list(TEXTS), padding=True, return_tensors="np")
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(out).eval()
    found = torch_logits(stock, batch["input_ids"], batch["attention_mask"])
    np.testing.assert_allclose(found, logits(source, TEXTS), atol=1e-5)


def test_language_model_keeps_what_tells_how_to_write_with_it(tmp_path):
    source = model(
        tmp_path / "source", "llama", head="language_model", generation_config__json={"top_k": 3}
    )
    (source / "additional_chat_templates").mkdir()
    (source / "additional_chat_templates" / "tools.jinja").write_text("{{ messages }}")
    out = exported(source, tmp_path / "out", "language_model")
    assert json.loads((out / "generation_config.json").read_text()) == {"top_k": 3}
    assert (out / "additional_chat_templates" / "tools.jinja").read_text() == "{{ messages }}"
