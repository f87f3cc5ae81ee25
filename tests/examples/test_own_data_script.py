"""The script that goes the whole way with a CSV file of one's own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from quickstart import minilm
from scripts import ROOT, environment


@pytest.mark.slow
def test_a_file_of_ones_own_is_learned_asked_resumed_and_compared(tmp_path):
    minilm()  # or it is skipped
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    own = environment(tmp_path / "compiled")
    wide = {name: value for name, value in own.items() if name != "COLUMNS"}
    result = subprocess.run(
        ["sh", str(tmp_path / "examples" / "own_data.sh")],
        env={**wide, "BIN": str(Path(sys.executable).parent)},
        capture_output=True,
        text=True,
    )
    told = result.stdout + result.stderr
    assert result.returncode == 0, told
    assert "296 labelled texts (billing 100, praise 98, technical 98)" in told
    assert "3 rows have nothing in 'category' and are left out" in told
    assert "where is my money?,billing" in told
    assert "resuming behind step" in told
    rows = [line.split() for line in told.splitlines()]
    # From the end: what varies may be several words.
    kept = {row[0]: float(row[-5]) for row in rows if row[:1] in (["first"], ["slower"])}
    assert 0.9 < kept["first"] <= 1.0
    assert 0.9 < kept["slower"] <= 1.0
