"""Files of torch.save are read as torch reads them, and damaged ones are refused."""

import zipfile

import ml_dtypes
import numpy as np
import pytest
from checkpoints import torch_archives as archives

from loren_jax.checkpoints import torch_file
from loren_jax.checkpoints.torch_file import TorchFile

ARRAYS = {
    "F32": np.arange(6, dtype=np.float32).reshape(2, 3),
    "F16": np.array([[0.5], [2]], np.float16),
    "BF16": np.array([1.5, -3], ml_dtypes.bfloat16),
    "I64": np.array(7),
    "empty": np.zeros((0, 3), np.float32),
}


def test_every_type_is_read(tmp_path):
    source = TorchFile(archives.write_arrays(tmp_path / "model.bin", ARRAYS))
    assert source.names() == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (source.shape(name), source.dtype(name)) == (
            array.shape,
            "F32" if name == "empty" else name,
        )
        assert source.read(name).dtype == array.dtype
        np.testing.assert_array_equal(source.read(name), array)


BASE = np.arange(24, dtype=np.float32)


def write_views(path, base, **options):
    """Four tensors that share one storage."""
    stored = archives.storage("0", 24)
    entries = {
        "whole": archives.tensor(stored, (24,), (1,)),
        "matrix": archives.tensor(stored, (4, 6), (6, 1)),
        "transposed": archives.tensor(stored, (6, 4), (1, 6)),
        "sliced": archives.tensor(stored, (2, 3), (12, 2), offset=7),
    }
    return archives.write(path, archives.pickled(entries), {"data/0": base.tobytes()}, **options)


@pytest.mark.parametrize(
    ("dtype", "byteorder"), [("<f4", b"little"), ("<f4", None), (">f4", b"big")]
)
def test_views_of_one_storage_are_read(dtype, byteorder, tmp_path):
    source = TorchFile(write_views(tmp_path / "model.bin", BASE.astype(dtype), byteorder=byteorder))
    matrix = BASE.reshape(4, 6)
    views = {
        "whole": BASE,
        "matrix": matrix,
        "transposed": matrix.T,
        "sliced": matrix[1::2, 1::2],
    }
    for name, view in views.items():
        assert source.read(name).flags.c_contiguous
        np.testing.assert_array_equal(source.read(name), view)


def test_reading_a_small_part_leaves_the_rest_of_the_file_alone(tmp_path):
    path = write_views(tmp_path / "model.bin", BASE)
    source = TorchFile(path)
    start = path.read_bytes().index(BASE[7:8].tobytes() + BASE[8:9].tobytes())
    with path.open("r+b") as file:  # what was opened is a view of the file, not a copy
        file.seek(start)
        file.write(np.float32(-1).tobytes())
    assert source.read("sliced")[0, 0] == -1


ALL = ((24,), (1,))
EXCEEDS = r"tensor 'a' of shape .* exceeds its storage of 24"
ABSENT = "storage of tensor 'a' is missing or too short"
OUTSIDE = {
    "offset": ("0", 24, ((3,), (1,), 22), EXCEEDS),
    "stride": ("0", 24, ((2, 3), (22, 1), 0), EXCEEDS),
    "size": ("0", 24, ((25,), (1,), 0), EXCEEDS),
    "huge": ("0", 24, ((2**40, 2**40), (1, 1), 0), EXCEEDS),
    "repeated": ("0", 24, ((2**40, 24), (0, 1)), r"repeats its storage of 24.*save a clone\(\)"),
    "long storage": ("0", 25, ALL, ABSENT),
    "huge storage": ("0", 2**50, ALL, ABSENT),
    "other storage": ("1", 24, ALL, ABSENT),
    "other folder": ("../x", 1, ((1,), (1,)), ABSENT),
}


@pytest.mark.parametrize(("record", "size", "view", "message"), OUTSIDE.values(), ids=OUTSIDE)
def test_views_and_storages_that_are_not_there_are_refused(record, size, view, message, tmp_path):
    entries = {"a": archives.tensor(archives.storage(record, size), *view)}
    content = archives.pickled(entries), {"data/0": BASE.tobytes()}
    with pytest.raises(ValueError, match=message):
        TorchFile(archives.write(tmp_path / "model.bin", *content))


@pytest.mark.parametrize("kept", [0, 3, 100, -30, -1])
def test_truncated_file_is_named(kept, tmp_path):
    path = write_views(tmp_path / "model.bin", BASE)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model\.bin is (damaged or incomplete|no file of torch)"):
        TorchFile(path)


def test_damaged_header_of_a_record_is_named(tmp_path):
    path = write_views(tmp_path / "model.bin", BASE)
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("archive/data/0").header_offset
    content = bytearray(path.read_bytes())
    content[offset] = 0
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.bin is damaged or incomplete"):
        TorchFile(path)


def append(path, name, content):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"archive/{name}", content)


def test_odd_archives_are_refused(tmp_path):
    refused = lambda message: pytest.raises(ValueError, match=rf"model\.bin: .*{message}")
    write = lambda **options: write_views(tmp_path / "model.bin", BASE, **options)
    with refused(r"'data\.pkl' is compressed"):
        TorchFile(write(compression=zipfile.ZIP_DEFLATED))
    with refused("neither little nor big"):
        TorchFile(write(byteorder=b"middle"))
    path = write()
    append(path, "constants.pkl", b"\x80\x02).")
    with refused("TorchScript program"):
        TorchFile(path)
    path = write()
    with pytest.warns(UserWarning, match="Duplicate name"):
        append(path, "data/0", bytes(96))
    with refused("two records called 'data/0'"):
        TorchFile(path)
    with refused(r"the pickle names '(__builtin__|_?io)\.open'"):
        TorchFile(archives.write(path, archives.bomb(tmp_path / "created"), {}))
    assert not (tmp_path / "created").exists()


def test_large_pickle_is_not_even_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_file, "_PICKLE_LIMIT", 100)
    with pytest.raises(ValueError, match=r"model\.bin: .*data\.pkl is too large"):
        TorchFile(write_views(tmp_path / "model.bin", BASE))


@pytest.mark.parametrize(
    "start",
    [b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", b"././@PaxHeader"],
    ids=["magic", "tar"],
)
def test_formats_before_torch_1_6_are_refused(start, tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(start + bytes(64))
    with pytest.raises(ValueError, match=r"torch before 1\.6.*safetensors\.torch\.save_file"):
        TorchFile(path)


@pytest.mark.oracle
@pytest.mark.parametrize("protocol", [2, 5])
def test_what_torch_saves_is_read(protocol, tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    state = torch.nn.Linear(3, 2).state_dict()
    state |= {
        "transposed": base.T,
        "sliced": base[1:, ::2],
        "half": base.half(),
        "bfloat16": base.bfloat16(),
        "parameter": torch.nn.Parameter(base),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 3),
    }
    path = tmp_path / "model.bin"
    torch.save(state, path, pickle_protocol=protocol)
    source = TorchFile(path)
    assert source.names() == list(state)
    for name, tensor in state.items():
        expected = tensor.detach().double().numpy()
        np.testing.assert_array_equal(source.read(name).astype(np.float64), expected)


@pytest.mark.oracle
def test_what_torch_saves_in_its_old_format_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.bin"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"torch before 1\.6"):
        TorchFile(path)
