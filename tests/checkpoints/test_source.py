"""Safetensors in every type, and damaged; shards as one, unless they contradict each other."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from loren_jax.checkpoints.source import JoinedShards, SafetensorsFile, TensorSource

TENSORS = {
    "F32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "F16": np.ones(2, np.float16),
    "BF16": np.array([1.5, -3], ml_dtypes.bfloat16),
}


def test_every_type_is_read(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors")
    source = SafetensorsFile(tmp_path / "model.safetensors")
    assert sorted(source.names()) == sorted(TENSORS)
    for name, tensor in TENSORS.items():
        assert (source.shape(name), source.dtype(name)) == (tensor.shape, name)
        assert source.read(name).dtype == tensor.dtype
        np.testing.assert_array_equal(source.read(name), tensor)


@pytest.mark.parametrize("kept", [0, 4, 40, -3])
def test_truncated_file_is_named(kept, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or incomplete.*again"):
        SafetensorsFile(path)


def shards(directory, *contents):
    for number, tensors in enumerate(contents):
        save_file(tensors, directory / f"{number}.safetensors")
    return [SafetensorsFile(directory / f"{number}.safetensors") for number in range(len(contents))]


A, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2, np.float16)


def test_every_tensor_comes_from_its_shard(tmp_path):
    source = JoinedShards("model", shards(tmp_path, {"a": A}, {"b": B}))
    assert isinstance(source, TensorSource)
    assert sorted(source.names()) == ["a", "b"]
    assert (source.shape("a"), source.dtype("b")) == ((2, 3), "F16")
    np.testing.assert_array_equal(source.read("a"), A)
    np.testing.assert_array_equal(source.read("b"), B)


def test_one_name_in_two_shards_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'a' is both in 0\.safetensors and in 1\.safetensors"):
        JoinedShards("model", shards(tmp_path, {"a": A}, {"a": B}))


@pytest.mark.parametrize("weight_map", [{"c": "0.safetensors"}, {"a": "1.safetensors"}])
def test_index_that_is_wrong_is_refused(weight_map, tmp_path):
    source = JoinedShards("model", shards(tmp_path, {"a": A}, {"b": B}))
    source.require(Path("index"), {"a": "0.safetensors", "b": "1.safetensors"})
    (name,) = weight_map
    with pytest.raises(ValueError, match=f"index says that tensor '{name}' is in .*again"):
        source.require(Path("index"), weight_map)
