"""The example of a language model: what it learns from, and that it runs."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from quickstart import smollm2

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "chat.py"


def script():
    spec = importlib.util.spec_from_file_location("chat", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_hundreds_of_real_dialogues():
    rows = script().dialogues()
    assert len(rows) >= 500
    assert len({row["completion"] for row in rows}) == len(rows)
    assert all(row["completion"].endswith(".") for row in rows)
    asked = {row["prompt"].partition("(")[0]: row["completion"] for row in rows}
    assert asked["numpy.linalg.norm"] == "Matrix or vector norm."


@pytest.mark.parametrize(
    ("documentation", "sentence"),
    [
        ("f(x)\n\nReturn x,\nas it is.\n\nMore.", "Return x, as it is."),
        ("Return x. And more.", ""),
        ("Return `x`.", ""),
        ("", ""),
    ],
)
def test_the_first_sentence_of_a_documentation(documentation, sentence):
    assert script().first_sentence(documentation) == sentence


@pytest.mark.slow
def test_two_steps_of_it_run(tmp_path):
    pytest.importorskip("jinja2")
    smollm2()  # or it is skipped
    short = "--steps 2 --train-examples 40 --held-out-examples 4 --generate 2 --max-new-tokens 4"
    result = subprocess.run(
        [sys.executable, str(SCRIPT), *short.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "answers to held-out prompts" in result.stdout
    summary = json.loads((tmp_path / "runs" / "chat" / "run" / "summary.json").read_text())
    assert summary["template"] == "own"
    assert summary["steps"] == 2
