"""Appends to a journal: each record is on the disk before the step counts as done."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from loren_jax import arguments
from loren_jax.journal.records import Journal, JournalError, encode_header, encode_record, read
from loren_jax.whole_file import whole_file

try:
    import fcntl
except ImportError:  # Windows: the check of the file's length remains
    fcntl = None


class JournalWriter:
    """An open journal; made by `create` or `reopen`.

    It holds a lock on the file, so that a second writer fails at once and cannot mix its records
    with these.

    Args:
      journal: what the file holds. What lies behind its last whole record is cut off.
      fsync_every: records after which the system is told to write to the disk; with 1 a step that
        was recorded survives a crash of the machine, with more one of the process.

    Attributes:
      path: the file.
      steps: how many records it has.

    Raises:
      JournalError: another process writes to the file.
    """

    def __init__(self, journal: Journal, *, fsync_every: int = 1):
        arguments.count("fsync_every", fsync_every)
        self.path, self._fsync_every = journal.path, fsync_every
        self._shape, self._dtype = journal.losses.shape[1:], journal.losses.dtype
        self.steps, self._end = journal.steps, journal.end
        self._checksum = int(journal.checksums[-1])
        self._file = os.open(self.path, os.O_RDWR)
        try:
            self._lock()
            self._require_length(journal.end + journal.leftover)
            os.ftruncate(self._file, self._end)
            os.fsync(self._file)
        except BaseException:
            os.close(self._file)
            raise

    def append(self, step: int, losses: ArrayLike) -> None:
        """Appends the record of a step.

        Args:
          step: its number, which must be the next.
          losses: `(K, S)`; kept in the type that the header names.

        Raises:
          ValueError: the step is not the next one, or the losses have another shape.
          JournalError: another process has written to the file.
          OSError: the system cannot write, as on a full disk; the file then ends with the record
            before this one.
        """
        losses = np.asarray(losses, self._dtype)
        if step != self.steps:
            raise ValueError(f"step is {step}, but the journal's next step is {self.steps}")
        if losses.shape != self._shape:
            raise ValueError(f"losses has shape {losses.shape}, the journal has {self._shape}")
        self._require_length(self._end)
        record = encode_record(step, losses, self._checksum)
        try:
            self._write(record)
            if (step + 1) % self._fsync_every == 0:
                os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._end)
            raise OSError(
                error.errno,
                f"the journal {self.path} cannot take step {step} ({error.strerror}); make room "
                "and resume: every step before it is safe",
            ) from error
        self._end += len(record)
        self._checksum = int.from_bytes(record[-4:], "little")
        self.steps += 1

    def close(self) -> None:
        """Writes everything to the disk and gives the file back."""
        if self._file >= 0:
            try:
                os.fsync(self._file)
            finally:
                os.close(self._file)
                self._file = -1

    def __enter__(self) -> "JournalWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _write(self, record: bytes) -> None:
        written = 0
        while written < len(record):  # a disk that is nearly full takes a part first
            written += os.pwrite(self._file, record[written:], self._end + written)

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalError(
                f"another process writes to the journal {self.path}; wait for it or stop it"
            ) from error
        except OSError:  # a disk without locks: the length is watched in any case
            return

    def _require_length(self, length: int) -> None:
        found = os.fstat(self._file).st_size
        if found != length:
            raise JournalError(
                f"another process has written to the journal {self.path}: it has {found} bytes "
                f"where {length} were left; only one run may append to a journal"
            )


def create(
    path: str | os.PathLike, header: Mapping[str, Any], *, fsync_every: int = 1
) -> JournalWriter:
    """Begins a journal; the file appears with its whole header or not at all.

    Args:
      path: the file to make.
      header: as `loren_jax.journal.header` makes it.
      fsync_every: see `JournalWriter`.

    Returns:
      The open journal.

    Raises:
      FileExistsError: there is such a file.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists; continue it, or name another file")
    with whole_file(path, "wb") as file:
        file.write(encode_header(header))
    _sync_directory(path.parent)
    return JournalWriter(read(path), fsync_every=fsync_every)


def reopen(
    path: str | os.PathLike, *, steps: int | None = None, fsync_every: int = 1
) -> JournalWriter:
    """Opens a journal to append to it, behind its last whole record.

    Args:
      path: the file.
      steps: keep so many records and drop the rest; None keeps all whole ones.
      fsync_every: see `JournalWriter`.

    Returns:
      The open journal.

    Raises:
      JournalError: the file cannot be read, has fewer records, or another process writes to it.
    """
    journal = read(path)
    kept = journal if steps is None else journal.shorten(steps)
    return JournalWriter(kept, fsync_every=fsync_every)


def _sync_directory(directory: Path) -> None:
    """Makes a new name survive a crash of the machine, where the system has a call for it."""
    if fcntl is None:
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
