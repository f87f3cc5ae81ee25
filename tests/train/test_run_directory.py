"""No run overwrites another, or anything else, by accident."""

import json

import pytest
from loren_jax.train.metrics import METRICS
from loren_jax.train.run_directory import check_free, claim, write_json


def test_a_new_or_empty_directory_is_free(tmp_path):
    check_free(tmp_path / "new", overwrite=False)
    check_free(tmp_path, overwrite=False)
    claim(tmp_path / "deep" / "new")
    assert (tmp_path / "deep" / "new").is_dir()


def test_another_run_is_replaced_only_when_asked(tmp_path):
    for name in (METRICS, "summary.json", "notes.txt"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"already holds a run; .*--output.*--overwrite"):
        check_free(tmp_path, overwrite=False)
    check_free(tmp_path, overwrite=True)
    claim(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_run_is_never_replaced(overwrite, tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(FileExistsError, match="is no run"):
        check_free(tmp_path, overwrite=overwrite)
    with pytest.raises(FileExistsError, match="is no run"):
        check_free(tmp_path / "thesis.tex", overwrite=overwrite)


def test_json_is_written_whole(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 1}
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"b": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
