"""Shards are one source, unless they contradict each other or their index."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from loren_jax.checkpoints.safetensors_files import SafetensorsFile
from loren_jax.checkpoints.source import JoinedShards, TensorSource


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
