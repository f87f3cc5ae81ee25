"""JSON that is absent or damaged is named."""

import pytest

from loren_jax.checkpoints import read_json


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
