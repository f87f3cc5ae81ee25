"""The right file of a path is opened, and what is missing or odd is named."""

import json

import numpy as np
import pytest
from checkpoints import torch_archives
from checkpoints.gguf_files import write_gguf
from safetensors.numpy import save_file

from loren_jax.checkpoints import TensorSource, checkpoint_config, open_checkpoint

A, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2, np.float16)
WRITERS = {
    "model.safetensors": lambda path, tensors: save_file(tensors, path),
    "pytorch_model.bin": torch_archives.write_arrays,
}


def write_shards(directory, name, weight_map=None):
    stem, suffix = name.split(".")
    shards = {"a": f"{stem}-1.{suffix}", "b": f"{stem}-2.{suffix}"}
    for tensor, array in {"a": A, "b": B}.items():
        WRITERS[name](directory / shards[tensor], {tensor: array})
    index = directory / f"{name}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map or shards}))
    return index


@pytest.mark.parametrize("name", WRITERS)
def test_one_file_or_shards_are_opened(name, tmp_path):
    index = write_shards(tmp_path, name)
    for path in (tmp_path, index):
        source = open_checkpoint(path)
        assert isinstance(source, TensorSource)
        assert sorted(source.names()) == ["a", "b"]
        assert (source.shape("a"), source.dtype("b")) == ((2, 3), "F16")
        np.testing.assert_array_equal(source.read("a"), A)
        np.testing.assert_array_equal(source.read("b"), B)
    WRITERS[name](tmp_path / name, {"c": A})
    for path in (tmp_path, tmp_path / name):
        assert open_checkpoint(str(path)).names() == ["c"]


def test_safetensors_come_before_pickles(tmp_path):
    WRITERS["pytorch_model.bin"](tmp_path / "pytorch_model.bin", {"pickled": A})
    assert open_checkpoint(tmp_path).names() == ["pickled"]
    write_shards(tmp_path, "model.safetensors")
    assert sorted(open_checkpoint(tmp_path).names()) == ["a", "b"]
    save_file({"single": A}, tmp_path / "model.safetensors")
    assert open_checkpoint(tmp_path).names() == ["single"]


def test_one_name_in_two_shards_is_refused(tmp_path):
    write_shards(tmp_path, "model.safetensors")
    save_file({"a": B}, tmp_path / "model-2.safetensors")
    with pytest.raises(ValueError, match=r"'a' is both in model-1\.safe.* and in model-2\.safe"):
        open_checkpoint(tmp_path)


ODD_INDEXES = {
    "absent shard": ({"a": "model-3.safetensors"}, FileNotFoundError, "listed in .* but absent"),
    "absent tensor": ({"c": "model-1.safetensors"}, ValueError, "says that tensor 'c' is in"),
    "wrong shard": (
        {"a": "model-2.safetensors", "b": "model-1.safetensors"},
        ValueError,
        "says that tensor 'a' is in",
    ),
    "other folder": ({"a": "../model.safetensors"}, ValueError, "no file of the directory"),
    "no map": ([], ValueError, "has no 'weight_map'"),
}


@pytest.mark.parametrize(("shards", "error", "message"), ODD_INDEXES.values(), ids=ODD_INDEXES)
def test_odd_index_is_refused(shards, error, message, tmp_path):
    index = write_shards(tmp_path, "model.safetensors")
    index.write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(error, match=message):
        open_checkpoint(tmp_path)


def test_whole_models_are_opened(tmp_path):
    (tmp_path / "training_args.bin").write_bytes(torch_archives.pickled({}))
    write_gguf(tmp_path / "model.gguf")
    for path in (tmp_path, tmp_path / "model.gguf"):
        assert open_checkpoint(path).shape("model.embed_tokens.weight") == (11, 32)
        assert checkpoint_config(path)["vocab_size"] == 11
    write_gguf(tmp_path / "other.gguf")
    with pytest.raises(ValueError, match=r"2 models \(model\.gguf, other\.gguf\); name one"):
        open_checkpoint(tmp_path)


def test_configuration_lies_beside_the_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
        checkpoint_config(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    save_file({"a": A}, tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        assert checkpoint_config(path) == {"model_type": "bert"}


def test_missing_and_unknown_weights_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent does not exist"):
        open_checkpoint(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"has none of \['model\.safetensors'.*\.gguf"):
        open_checkpoint(tmp_path)
    for name in ("weights", "stories260K.bin"):
        (tmp_path / name).write_bytes(bytes(64))
        with pytest.raises(ValueError, match=rf"{name} is of no known format.*llama2c\.py"):
            open_checkpoint(tmp_path / name)


LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


NOT_FETCHED = ("model.safetensors", "pytorch_model.bin", "model.gguf", "config.json")


@pytest.mark.parametrize(
    "name", [*NOT_FETCHED, "model-2.safetensors", "model.safetensors.index.json"]
)
def test_what_git_did_not_fetch_is_named(name, tmp_path):
    if name not in NOT_FETCHED:
        write_shards(tmp_path, "model.safetensors")
    (tmp_path / name).write_text(LFS_POINTER)
    opened = checkpoint_config if name == "config.json" else open_checkpoint
    for path in (tmp_path, tmp_path / name) if name in NOT_FETCHED[:3] else (tmp_path,):
        with pytest.raises(ValueError, match=rf"{name} is a Git LFS pointer.*git lfs pull"):
            opened(path)
