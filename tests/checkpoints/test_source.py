"""Safetensors in every type, and damaged."""

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from loren_jax.checkpoints.source import SafetensorsFile

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
