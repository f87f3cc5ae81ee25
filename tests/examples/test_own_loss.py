"""A loss of one's own, killed and started again."""

import re
import signal
import subprocess
import sys
import time

import pytest
from scripts import ROOT, environment

SCRIPT = ROOT / "examples" / "own_loss.py"


def start(place):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(place.parent / "compiled"),
    )


def ended(process):
    with process:
        printed, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors[-3000:]
    return printed, errors


def test_it_is_short():
    code = SCRIPT.read_text(encoding="utf-8").splitlines()
    assert len(code) <= 25


@pytest.mark.slow
def test_killed_with_signal_9_and_started_again_it_ends_in_the_same_bits(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    printed, _ = ended(start(whole))
    before, after = map(float, re.findall(r"\d\.\d+", printed))
    assert after < 0.1 * before
    record = lambda place: place / "runs" / "own_loss" / "run.journal"
    size = record(whole).stat().st_size
    for part in (0.2, 0.6):
        process = start(killed)
        with process:
            deadline = time.monotonic() + 120
            while not (record(killed).exists() and record(killed).stat().st_size > part * size):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
    assert record(killed).stat().st_size < size
    again, errors = ended(start(killed))
    assert "resuming behind step" in errors
    assert again == printed
    assert record(killed).read_bytes() == record(whole).read_bytes()
