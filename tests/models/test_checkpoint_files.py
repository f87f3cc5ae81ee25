"""Files that are absent or damaged are named, and a directory is written whole or not at all."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from loren_jax.models.checkpoint_files import SafetensorsDirectory, read_json, write_directory

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float16)}


def test_one_file_is_read(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors")
    source = SafetensorsDirectory(tmp_path)
    assert sorted(source.names()) == ["a", "b"]
    assert (source.shape("a"), source.dtype("b")) == ((2, 3), "F16")
    np.testing.assert_array_equal(source.read("a"), TENSORS["a"])


def write_shards(directory):
    shards = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    for name, shard in shards.items():
        save_file({name: TENSORS[name]}, directory / shard)
    index = {"metadata": {}, "weight_map": shards}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def test_shards_are_read(tmp_path):
    write_shards(tmp_path)
    source = SafetensorsDirectory(tmp_path)
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(source.read(name), tensor)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither model\.safetensors nor .*index\.json"):
        SafetensorsDirectory(tmp_path)
    write_shards(tmp_path)
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model-2\.safetensors is listed"):
        SafetensorsDirectory(tmp_path)


@pytest.mark.parametrize("kept", [0, 4, 40, -3])
def test_truncated_file_is_named(kept, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or incomplete.*again"):
        SafetensorsDirectory(tmp_path)


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


def test_directory_is_written_whole(tmp_path):
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("word")
    out = write_directory(
        tmp_path / "new" / "out",
        tensors=TENSORS,
        config={"a": 1},
        copied=[vocabulary],
        texts={"code.py": "pass\n"},
    )
    names = ["code.py", "config.json", "model.safetensors", "vocab.txt"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert list(out.parent.iterdir()) == [out]
    assert read_json(out / "config.json") == {"a": 1}


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
    absent = [tmp_path / "absent"]
    for target in (out, tmp_path / "other"):
        with pytest.raises(FileNotFoundError):
            write_directory(target, tensors=TENSORS, config={}, copied=absent, overwrite=True)
    assert list(tmp_path.iterdir()) == [out]
    assert read_json(out / "config.json") == {"version": 1}
