"""Appending: what survives a crash, a full disk and a second writer."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from loren_jax import journal
from loren_jax.journal.records import record_size

ROW = np.ones((2, 1), np.float32)


def test_continued_drops_a_torn_record_and_goes_on(file, losses):
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    with journal.reopen(file) as log:
        assert log.steps == 2
        log.append(2, losses[2])
    assert file.read_bytes() == whole


def test_continued_from_an_earlier_step(file, losses):
    whole = file.read_bytes()
    with journal.reopen(file, steps=1) as log:
        log.append(1, losses[1])
        log.append(2, losses[2])
    assert file.read_bytes() == whole


def test_a_second_writer_is_refused(file):
    refused = pytest.raises(journal.JournalError, match="another process writes")
    with journal.reopen(file), refused:
        journal.reopen(file)
    journal.reopen(file).close()


def test_a_writer_that_takes_no_lock_is_noticed(file):
    with journal.reopen(file) as log:
        with open(file, "ab") as intruder:
            intruder.write(b"x" * record_size((2, 1)))
        with pytest.raises(journal.JournalError, match="another process has written"):
            log.append(3, ROW)


def test_no_journal_is_replaced(file, header):
    before = file.read_bytes()
    with pytest.raises(FileExistsError, match="exists"):
        journal.create(file, header)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("step", "losses", "message"),
    [(4, ROW, "next step is 3"), (3, ROW[0], r"shape \(1,\)"), (3, ROW.T, "the journal has")],
)
def test_records_that_do_not_fit(file, step, losses, message):
    with journal.reopen(file) as log, pytest.raises(ValueError, match=message):
        log.append(step, losses)
    assert journal.read(file).steps == 3


def test_every_record_is_on_the_disk_unless_told_otherwise(tmp_path, header, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "fsync", lambda handle: calls.append(handle))
    for every, expected in ((1, 6), (3, 2)):
        with journal.create(tmp_path / f"{every}", header, fsync_every=every) as log:
            calls.clear()
            for step in range(6):
                log.append(step, ROW)
            assert len(calls) == expected


def test_killed_while_it_appends(tmp_path):
    """A process that appends as fast as it can, killed: only whole records, in their order."""
    code = """
        import sys, numpy as np
        from loren_jax import journal
        with journal.create(sys.argv[1], {"losses": [2, 1]}, fsync_every=10**6) as log:
            print("ready", flush=True)
            for step in range(10**9):
                log.append(step, np.full((2, 1), step, np.float32))
    """
    path = tmp_path / "j"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), path], stdout=subprocess.PIPE
    )
    with process:
        process.stdout.readline()
        while path.stat().st_size < 100_000:
            pass
        process.send_signal(signal.SIGKILL)
    found = journal.read(path)
    assert found.leftover < record_size((2, 1))
    np.testing.assert_array_equal(found.losses[:, 0, 0], np.arange(found.steps))


def fill(path):
    """Appends until the system refuses; returns the error and the journal."""
    with journal.create(path, {"losses": [2, 1]}) as log:
        append = lambda: [log.append(step, ROW) for step in range(10**6)]
        refused = pytest.raises(OSError, match=r"cannot take step .* every step before it is safe")
        with refused as error:
            append()
        written = log.steps
    found = journal.read(path)
    assert (found.steps, found.leftover) == (written, 0)
    return error.value


def test_a_file_that_may_not_grow(tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1003, limits[1]))
    try:
        error = fill(tmp_path / "j")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert error.errno == errno.EFBIG


def test_a_full_disk(tmp_path):
    """In a name space of its own with a file system of 16 pages, where the system allows that."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare")
    code = """
        import errno, sys
        sys.path.insert(0, sys.argv[2])
        from journal.test_writer import fill
        assert fill(sys.argv[1] + "/j").errno == errno.ENOSPC
    """
    tests = os.path.dirname(os.path.dirname(__file__))
    inside = f'mount -t tmpfs -o size=64k none "{tmp_path}" && exec "$@"'
    python = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path), tests]
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", inside, "sh", *python], capture_output=True, text=True
    )
    if result.returncode and "Traceback" not in result.stderr:
        pytest.skip(f"no file system of our own: {result.stderr.strip()}")
    assert not result.returncode, result.stderr
