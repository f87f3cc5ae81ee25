"""The script for many chips, on virtual ones: alone, and as two processes."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(tmp_path):
    """Starts the script with arguments; whatever still runs at the end is stopped."""
    with contextlib.ExitStack() as stack:

        def run(*arguments):
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "examples" / "pod.py"), "--mesh", "2,2,2", *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            stack.enter_context(process)  # closes its pipes
            stack.callback(process.kill)
            return process

        yield run


def losses(process):
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors[-3000:]
    return [float(loss) for loss in re.findall(r"loss (\S+)", output)]


@pytest.mark.slow
def test_the_loss_falls_and_two_processes_are_one(start):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    both = ["--cpu-devices", "4", "--steps", "50", "--coordinator", address, "--processes", "2"]
    processes = [start(*both, "--process", str(i)) for i in range(2)]
    (first, later), second = map(losses, processes)
    assert second == []  # one of them speaks
    assert later < first - 0.3
    alone = losses(start("--cpu-devices", "8", "--steps", "50", "--output", "alone"))
    # Rounding grows over fifty steps.
    assert first == pytest.approx(alone[0], abs=1e-5)
    assert later == pytest.approx(alone[1], abs=1e-3)
