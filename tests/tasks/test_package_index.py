"""Downloading through pip, with the pip replaced."""

import importlib.util
import subprocess
import sys

import pytest

from loren_jax.tasks.package_index import FetchError, download_source

SHA256 = "0" * 64


def fake_run(monkeypatch, returncode=0, output="", archives=("acme-1.0.tar.gz",)):
    commands = []

    def run(command, **options):
        commands.append(command)
        folder = command[command.index("--dest") + 1]
        for name in archives:
            with open(f"{folder}/{name}", "wb") as file:
                file.write(b"archive")
        return subprocess.CompletedProcess(command, returncode, output)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_pip_of_this_interpreter_checks_the_hash(monkeypatch, tmp_path):
    commands = fake_run(monkeypatch)
    assert download_source("acme", "1.0", SHA256, tmp_path).read_bytes() == b"archive"
    assert commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--require-hashes", "--no-deps"} <= set(commands[0])
    assert (tmp_path / "requirements.txt").read_text() == f"acme==1.0 --hash=sha256:{SHA256}\n"


def test_failure_shows_command_and_last_lines(monkeypatch, tmp_path):
    output = "\n".join(f"line {number}" for number in range(9))
    fake_run(monkeypatch, returncode=1, output=output)
    with pytest.raises(FetchError, match=r"pip download .*status 1:\nline 4\n(.*\n)*line 8"):
        download_source("acme", "1.0", SHA256, tmp_path)


def test_nothing_or_too_much_brought(monkeypatch, tmp_path):
    fake_run(monkeypatch, archives=())
    with pytest.raises(FetchError, match="brought 0 archives"):
        download_source("acme", "1.0", SHA256, tmp_path)


def test_time_limit(monkeypatch, tmp_path):
    def run(command, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(FetchError, match="did not finish within"):
        download_source("acme", "1.0", SHA256, tmp_path)


def test_without_pip(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FetchError, match="has no pip"):
        download_source("acme", "1.0", SHA256, tmp_path)
