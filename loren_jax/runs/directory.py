"""The directory of a run: locked while a process writes to it, never mixed with another run's."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loren_jax import journal
from loren_jax.reports.files import (
    ADAPTER,
    ANSWERS,
    CHECKPOINTS,
    CONFIG,
    CURVE,
    FACTORS,
    JOURNAL,
    METRICS,
    MODEL,
    PACKED,
    SUMMARY,
    TENSORBOARD,
    WANDB,
)

try:
    import fcntl
except ImportError:  # Windows has the journal's own check alone
    fcntl = None

LOCK = ".lock"
_FOLDERS = (MODEL, ADAPTER, CHECKPOINTS, "keyframes", TENSORBOARD, WANDB)
_FILES = (PACKED, CONFIG, JOURNAL, FACTORS, SUMMARY, ANSWERS, CURVE, METRICS)


class InUseError(OSError):
    """Another process writes to a run's directory."""


@contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Holds a run's directory, which is made if need be; nothing in it is touched before.

    Raises an InUseError if another process holds it.
    """
    made = [parent for parent in (directory, *directory.parents) if not parent.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / LOCK
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _lock(file, path):
            made = []  # by now they are the other process's
            raise InUseError(
                f"output: another process writes to {directory}; wait for it, stop it, or name "
                "another directory"
            )
        yield
    finally:
        _leave(directory, made)
        os.close(file)


def _lock(file: int, path: Path) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who held it before may have taken the file away since it was opened.
        return os.path.samestat(os.fstat(file), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:  # a disk without locks
        return True


def _leave(directory: Path, made: list[Path]) -> None:
    """Takes away the folders that a run made which then came to nothing."""
    for folder in made:
        inside = {entry.name for entry in folder.iterdir()} if folder.is_dir() else {LOCK, ""}
        if inside - {LOCK}:
            return
        (folder / LOCK).unlink(missing_ok=True)
        with suppress(OSError):  # another process has taken it by now
            folder.rmdir()


def holds_run(directory: Path) -> bool:
    """Whether there is a run of which a step was recorded, or one of an earlier version."""
    path = directory / JOURNAL
    if not path.is_file():
        return (directory / SUMMARY).is_file()
    try:
        return journal.read(path).steps > 0
    except journal.JournalError:
        return True


def require_free(directory: Path, *, overwrite: bool) -> None:
    """Raises a FileExistsError unless a run may be written to a directory, which need not be there.

    It may hold another run where that is to be overwritten, and never anything that is no run.
    Nothing is changed.
    """
    if directory.exists() and not directory.is_dir():
        raise FileExistsError(f"output: {directory} is a file; name a directory with --output")
    found = {entry.name for entry in directory.iterdir()} if directory.is_dir() else set()
    if found - {LOCK} and not {METRICS, JOURNAL} & found:
        raise FileExistsError(
            f"output: {directory} exists and holds something that is no run; name another "
            "directory with --output"
        )
    if not overwrite and holds_run(directory):
        raise FileExistsError(
            f"output: {directory} already holds a run; name another directory with --output, go "
            f"on with it with --resume {directory}, or replace it with --overwrite"
        )


def claim(directory: Path, *, overwrite: bool) -> None:
    """Empties a locked directory of what a former run, or an attempt without a step, left there.

    Files that no run writes are not touched; see `require_free`.
    """
    require_free(directory, overwrite=overwrite)
    for name in filter(lambda name: os.path.lexists(directory / name), _FOLDERS):
        shutil.rmtree(directory / name)
    # The metrics last: as long as they are there, the directory counts as a run of ours.
    for name in _FILES:
        for path in (*directory.glob(f".{name}.*"), directory / name):
            path.unlink(missing_ok=True)
