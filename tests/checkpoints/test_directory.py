"""A directory is written whole or not at all, and JSON that is absent or damaged is named."""

import numpy as np
import pytest

from loren_jax.checkpoints import read_json, write_directory

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float16)}


def test_directory_is_written_whole(tmp_path):
    out = write_directory(
        tmp_path / "new" / "out",
        tensors=TENSORS,
        config={"a": 1},
        files={"code.py": b"pass\n", "tokenizer.model": b"\xff\x00"},
    )
    names = ["code.py", "config.json", "model.safetensors", "tokenizer.model"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert list(out.parent.iterdir()) == [out]
    assert read_json(out / "config.json") == {"a": 1}
    assert (out / "tokenizer.model").read_bytes() == b"\xff\x00"


def test_existing_directory_is_kept_unless_told_otherwise(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    write_directory(out, tensors=TENSORS, config={"version": 1})  # empty, hence nobody's
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_directory(out, tensors=TENSORS, config={"version": 2})
    assert read_json(out / "config.json") == {"version": 1}
    write_directory(out, tensors=TENSORS, config={"version": 2}, overwrite=True)
    assert read_json(out / "config.json") == {"version": 2}
    assert list(tmp_path.iterdir()) == [out]


def test_failed_write_leaves_nothing_behind(tmp_path):
    out = write_directory(tmp_path / "out", tensors=TENSORS, config={"version": 1})
    for target in (out, tmp_path / "other"):
        with pytest.raises(FileNotFoundError):
            write_directory(
                target, tensors=TENSORS, config={}, files={"no/such/folder": b""}, overwrite=True
            )
    assert list(tmp_path.iterdir()) == [out]
    assert read_json(out / "config.json") == {"version": 1}


def test_bad_json_is_named(tmp_path):
    path = tmp_path / "config.json"
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
        read_json(path)
    path.write_text('{"a": ')
    with pytest.raises(ValueError, match=r"config\.json is no valid JSON"):
        read_json(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match="must hold a JSON object, not a list"):
        read_json(path)
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}
