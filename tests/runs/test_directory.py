"""No run overwrites another, or anything else, by accident."""

import errno
from pathlib import Path

import numpy as np
import pytest

from loren_jax import journal
from loren_jax.reports.files import JOURNAL, METRICS, SUMMARY
from loren_jax.runs.directory import LOCK, claim, hold, holds_run, require_free

HEADER = journal.header({}, (1, 1), method=None)


def recorded(directory, steps):
    """What an attempt leaves that ended behind some steps."""
    directory.mkdir(exist_ok=True)
    (directory / METRICS).write_text("{}\n")
    (directory / "notes.txt").touch()
    (directory / "model").mkdir()
    (directory / "model" / "config.json").touch()
    with journal.create(directory / JOURNAL, HEADER) as log:
        for step in range(steps):
            log.append(step, np.ones((1, 1)))


def test_a_new_or_empty_directory_is_free(tmp_path):
    require_free(tmp_path / "new", overwrite=False)
    require_free(tmp_path, overwrite=False)
    assert not (tmp_path / "new").exists()


def test_another_run_is_replaced_only_when_asked(tmp_path):
    recorded(tmp_path, steps=1)
    assert holds_run(tmp_path)
    for refuses in (require_free, claim):
        with pytest.raises(FileExistsError, match=r"already holds a run; .*--output.*--overwrite"):
            refuses(tmp_path, overwrite=False)
    assert (tmp_path / "model" / "config.json").exists()
    claim(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_attempt_without_a_step_and_its_drafts_block_nothing(tmp_path):
    recorded(tmp_path, steps=0)
    for draft in (f".{JOURNAL}.4711", f".{SUMMARY}.draft", f".{METRICS}.draft"):
        (tmp_path / draft).touch()
    assert not holds_run(tmp_path)
    claim(tmp_path, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", [SUMMARY, JOURNAL])
def test_what_may_be_a_run_of_another_version_is_one(tmp_path, name):
    for file in (METRICS, name):
        (tmp_path / file).write_text("{}")
    with pytest.raises(FileExistsError, match="already holds a run"):
        require_free(tmp_path, overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_run_is_never_replaced(overwrite, tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    for refuses in (require_free, claim):
        with pytest.raises(FileExistsError, match="is no run"):
            refuses(tmp_path, overwrite=overwrite)
        with pytest.raises(FileExistsError, match="is a file"):
            refuses(tmp_path / "thesis.tex", overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "..."


def test_a_former_runs_checkpoints_never_stay_behind(tmp_path):
    """The new run would go on from them; those on another disk are for their owner to remove."""
    recorded(tmp_path / "run", steps=1)
    (tmp_path / "scratch").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to(tmp_path / "scratch")
    with pytest.raises(OSError, match="symbolic link"):
        claim(tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / METRICS).exists()  # still a run of ours


def test_a_directory_that_another_process_takes_at_the_end_is_left_to_it(tmp_path, monkeypatch):
    unlink = Path.unlink

    def retaken(self, **options):
        unlink(self, **options)
        self.touch()

    monkeypatch.setattr(Path, "unlink", retaken)
    with pytest.raises(ZeroDivisionError), hold(tmp_path / "run"):
        raise ZeroDivisionError
    assert (tmp_path / "run" / LOCK).exists()


def test_a_disk_without_locks_is_used_without(tmp_path, monkeypatch):
    """As Lustre is often mounted; the journal's own check stays."""

    def flock(file, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with hold(tmp_path):
        recorded(tmp_path, steps=1)
        assert holds_run(tmp_path)
