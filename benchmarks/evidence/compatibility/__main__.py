"""Tries the library on other people's code, and writes `results/compatibility.md`.

    python -m benchmarks compatibility                  # all files, each in a process of its own
    python -m benchmarks compatibility keras control    # those with these words in their names
    python -m benchmarks compatibility --case LSTM      # cases with this in theirs

A case is a loss with its parameters (`cases.py`). One step of `loren` of rank 1 and of `mezo` of
full rank is taken with perturbed evaluation and on perturbed copies, same key: the losses must be
equal to rounding (`comparison.py`). Which axes are fan-in is read off the loss, as `fit` does. A
file that cannot be imported, as its packages are absent or changed, is left out and named. XLA's
optimiser is off: nothing is timed. The rows are kept in `results/compatibility.jsonl`; a file that
runs again has new ones.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
FOLDERS = ("libraries", "operations")
ROWS = FOLDER.parents[1] / "results" / "compatibility.jsonl"


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="files with one of these words in their names")
    parser.add_argument(
        "--case", default="", help="cases with this in their names; nothing is kept"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return run_one(given.one, given.case)
    files = [
        f"{folder}.{p.stem}" for folder in FOLDERS for p in sorted((FOLDER / folder).iterdir())
    ]
    rows = [] if given.case else known()
    for name in files:
        if not given.words or any(word in name for word in given.words):
            rows = [row for row in rows if row["file"] != name] + of_process(name, given.case)
            if not given.case:
                ROWS.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    from benchmarks.evidence.compatibility.page import page

    text = page(sorted(rows, key=lambda row: files.index(row["file"])))
    sys.stdout.write(text)
    if not given.case:
        ROWS.with_suffix(".md").write_text(text, encoding="utf-8")
    return None


def known() -> list[dict]:
    """The rows of earlier runs."""
    lines = ROWS.read_text(encoding="utf-8").splitlines() if ROWS.exists() else []
    return [json.loads(line) for line in lines]


def of_process(name: str, case: str) -> list[dict]:
    """The rows of a file; one that says why, where there are none."""
    flags = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    own = {"KERAS_BACKEND": "jax", "XLA_FLAGS": flags, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "benchmarks", "compatibility", "--one", name, "--case", case]
    rows = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | own
    ) as process:
        for line in process.stdout or ():
            kind, _, value = line.partition(" ")
            if kind == "ROW":
                rows.append({"file": name, **json.loads(value)})
                sys.stderr.write(f"{name}: {rows[-1].get('case', value)}\n")
    if process.returncode:
        rows.append({"file": name, "absent": f"the process ended with {process.returncode}"})
    return rows


def run_one(name: str, case: str) -> None:
    """Writes the rows of a file as lines of JSON."""
    from benchmarks.evidence.compatibility.comparison import compare

    try:
        cases = importlib.import_module(f"{__package__}.{name}").cases
    except Exception as error:  # whatever other people's code raises
        why = " ".join(str(error).split())[:120]
        print(f"ROW {json.dumps({'absent': why})}", flush=True)
        return
    for one in cases.all:
        if case in one.name:
            print(f"ROW {json.dumps(compare(cases.library, one)._asdict())}", flush=True)


if __name__ == "__main__":
    main()
