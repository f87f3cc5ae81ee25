"""One runner, and an index that says what there is."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.catalogue import ALL, BY_NAME, listed

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("speed", "evidence", "research")


def run(*words):
    command = [sys.executable, "-m", "benchmarks", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_index_has_the_table_of_all():
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert listed() in text, "run python -m benchmarks tables"


@pytest.mark.parametrize("benchmark", ALL, ids=lambda one: one.name)
def test_an_entry_is_a_module_with_a_main(benchmark):
    found = importlib.util.find_spec(benchmark.module)
    origin = Path(found.origin)
    source = origin.with_name("__main__.py") if origin.name == "__init__.py" else origin
    assert "\ndef main()" in source.read_text(encoding="utf-8")


def test_every_file_with_a_main_is_in_the_index():
    files = [path for room in ROOMS for path in (ROOT / "benchmarks" / room).glob("*.py")]
    commands = {path.stem for path in files if "\ndef main()" in path.read_text(encoding="utf-8")}
    assert commands - set(BY_NAME) == set()


def test_no_benchmark_changes_where_modules_are_found():
    files = (ROOT / "benchmarks").rglob("*.py")
    assert [p.name for p in files if "sys.path.append" in p.read_text(encoding="utf-8")] == []


def test_without_a_name_the_runner_lists_all():
    assert listed() in run().stdout


def test_a_name_of_nothing_is_answered_with_those_that_there_are():
    told = run("no_such_thing")
    assert told.returncode
    assert "there is no benchmark 'no_such_thing': it is one of step_time" in told.stderr
