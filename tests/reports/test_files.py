"""JSON of a run: strict, whole, and told of by name where it is damaged."""

import json
import os
import stat

import numpy as np
import pytest

from loren_jax.reports.files import read_json, strict, write_json

INFINITE = (float("nan"), float("inf"), float("-inf"), np.float64("nan"))


def refuse(name):
    pytest.fail(f"{name} is not JSON")


def test_what_is_not_finite_is_null_however_deep_it_lies(tmp_path):
    values = {"loss": float("nan"), "deep": [{"more": INFINITE}], "true": True, "number": 0.1}
    write_json(tmp_path / "a.json", values)
    found = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert found == {"loss": None, "deep": [{"more": [None] * 4}], "true": True, "number": 0.1}
    assert found == strict(values) == read_json(tmp_path / "a.json")


def test_json_is_written_whole_or_not_at_all(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"b": object()})
    assert read_json(tmp_path / "a.json") == {"b": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    (tmp_path / "plain").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.json", "plain")]
    assert modes[0] == modes[1]  # as umask says


def test_json_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Else a crash of the machine may leave an empty file under it, and nothing could go on."""
    order, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: order.append("sync") or fsync(file))
    monkeypatch.setattr(os, "replace", lambda *paths: order.append("name") or replace(*paths))
    write_json(tmp_path / "a.json", {"b": 1})
    assert order == ["sync", "name"]


@pytest.mark.parametrize(
    ("text", "message"), [("{", "it is not JSON"), ("[1]", "it holds no JSON object")]
)
def test_a_damaged_file_is_named(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.json is damaged: {message}"):
        read_json(tmp_path / "a.json")
