"""A tokenizer is opened from any kind of path, and written where transformers opens it."""

import json

import numpy as np
import pytest
from checkpoints.gguf_files import sentencepiece, write_gguf
from quickstart import smollm2
from safetensors.numpy import save_file

from loren_jax.checkpoints import (
    checkpoint_config,
    checkpoint_tokenizer,
    open_checkpoint,
    tokenizer_files,
    write_directory,
)
from loren_jax.models import export_language_model, load_language_model
from loren_jax.tasks import open_tokenizer

LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
TEXT = "hello hé\n"


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    return write_gguf(folder / "model.gguf", packing="F32", **sentencepiece())


def written(source, directory):
    config, files = checkpoint_config(source), tokenizer_files(source)
    return write_directory(directory, tensors={}, config=config, files=files)


def test_whole_model_becomes_a_directory(model, tmp_path):
    from transformers import AutoTokenizer

    original = checkpoint_tokenizer(model)
    loaded = load_language_model(model)
    directory = export_language_model(tmp_path / "out", model, loaded.config, loaded.params)
    before, after = open_checkpoint(model), open_checkpoint(directory)
    assert sorted(after.names()) == sorted(before.names())
    for name in before.names():
        np.testing.assert_array_equal(after.read(name), before.read(name))
    assert checkpoint_config(directory) == checkpoint_config(model) | {"dtype": "float32"}
    theirs = AutoTokenizer.from_pretrained(directory)
    for opened in (theirs, open_tokenizer(directory), open_tokenizer(model.parent)):
        assert opened(TEXT)["input_ids"] == original(TEXT)["input_ids"]
        assert opened.special_tokens_map == original.special_tokens_map
        assert opened.model_max_length == 64


def test_files_of_a_directory_are_copied_as_they_are(model, tmp_path):
    first = written(model, tmp_path / "first")
    save_file({}, first / "model.safetensors")
    (first / "notes.txt").write_text("no part of the tokenizer")
    files = tokenizer_files(first)
    assert files == tokenizer_files(first / "model.safetensors")
    assert files == {
        name: (first / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")
    }
    # Where both are, the files go before what the model's own file would give.
    model.with_name("tokenizer.json").write_text("{}")
    assert tokenizer_files(model.parent) == {"tokenizer.json": b"{}"}


def test_model_without_a_tokenizer_has_no_files(tmp_path):
    assert tokenizer_files(tmp_path) == {}
    bare = write_gguf(tmp_path / "model.gguf")
    assert tokenizer_files(bare) == {}
    with pytest.raises(FileNotFoundError, match="has no tokenizer"):
        checkpoint_tokenizer(bare)
    with pytest.raises(FileNotFoundError, match="absent"):
        open_tokenizer(tmp_path / "absent")


def test_unsupported_tokenizer_is_an_error_and_not_left_out(tmp_path):
    path = write_gguf(tmp_path / "m.gguf", texts={"tokenizer.ggml.model": "t5"})
    with pytest.raises(ValueError, match="kind 't5' is not supported"):
        tokenizer_files(path)


def test_code_of_a_directory_is_not_run(tmp_path):
    victim = tmp_path / "created"
    code = f"open({str(victim)!r}, 'w')\nclass T: pass\n"
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "code.py").write_text(code)
    auto_map = {"AutoTokenizer": ["code.T", None]}
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": auto_map}))
    (folder / "config.json").write_text("{}")
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n")
    with pytest.raises(ValueError, match="contains custom code"):
        checkpoint_tokenizer(folder)
    assert not victim.exists()


@pytest.mark.parametrize(
    "files",
    [(), ("tokenizer_config.json", "special_tokens_map.json"), ("vocab.json",), ("merges.txt",)],
)
@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "gpt2", "opt", "llama"])
def test_model_without_a_vocabulary_gets_no_made_up_tokenizer(family, files, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    save_file({}, tmp_path / "model.safetensors")
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"no tokenizer's vocabulary .*; copy"):
        checkpoint_tokenizer(tmp_path)


UNKNOWN = '{"version": "1.0", "added_tokens": [], "model": {"type": "Foreign", "vocab": 3}}'
WORDS = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n"
NOT_FETCHED = "is a Git LFS pointer.*git lfs pull"
REFUSED = {
    "no model": ({"adapter_config.json": "{}"}, "is a PEFT adapter of another model"),
    "unknown format": (
        {"config.json": '{"model_type": "gpt2"}', "tokenizer.json": UNKNOWN},
        r"tokenizer\.json\) cannot be opened .*upgrade",
    ),
    "tokenizer not fetched": (
        {"config.json": '{"model_type": "bert"}', "tokenizer.json": LFS_POINTER},
        rf"tokenizer\.json {NOT_FETCHED}",
    ),
    "vocabulary not fetched": (
        {"config.json": '{"model_type": "bert"}', "vocab.txt": LFS_POINTER},
        rf"vocab\.txt {NOT_FETCHED}",
    ),
    # The configuration's faults are not blamed on the tokenizer.
    "configuration not fetched": (
        {"config.json": LFS_POINTER, "vocab.txt": WORDS},
        rf"config\.json {NOT_FETCHED}",
    ),
    "configuration": ({"config.json": "{", "vocab.txt": WORDS}, r"config\.json is no valid"),
    "kind": (
        {"config.json": '{"hidden_size": 8}', "vocab.txt": WORDS},
        r"config\.json says no model_type, which tells .*; add it",
    ),
}


@pytest.mark.parametrize(("files", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_opened_is_named_in_one_line(files, message, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    error = FileNotFoundError if "adapter_config.json" in files else ValueError
    with pytest.raises(error, match=message) as caught:
        checkpoint_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"architectures": ["BertForSequenceClassification"]},  # the class tells the kind
        {"architectures": ["DistilBertModel"]},
        {"model_type": "bert", "id2label": {"0.0": "a"}},  # whatever else is odd
        {"model_type": "bert", "hidden_size": "x"},
    ],
)
def test_type_or_class_tells_the_tokenizer_and_nothing_else_counts(config, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "vocab.txt").write_text(WORDS)
    assert checkpoint_tokenizer(tmp_path)("hello")["input_ids"] == [2, 5, 3]


@pytest.mark.slow
def test_smollm2_survives_an_export(tmp_path):
    path = smollm2()
    original = checkpoint_tokenizer(path)
    opened = open_tokenizer(written(path, tmp_path / "out"))
    text = "It's 1234  o'clock, naïve 日本 <|im_end|>\n"
    assert opened(text)["input_ids"] == original(text)["input_ids"]
    assert opened.chat_template == original.chat_template
    assert opened.special_tokens_map == original.special_tokens_map
