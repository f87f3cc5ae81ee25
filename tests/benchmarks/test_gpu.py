"""The accelerator kit, with a model of no size: every part runs and says what it found."""

import json
import sys

import jax
import pytest

from benchmarks.speed import gpu
from loren_jax.models.families import abstract_params
from loren_jax.optimizers import METHODS


@pytest.mark.slow
def test_all_parts_write_one_file_and_one_page(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["-m benchmarks gpu", "--tiny", "--output", str(tmp_path)])
    gpu.main()
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    by_part = {part: [r for r in rows if r["part"] == part] for part in ("methods", "steps")}
    assert [row["what"] for row in by_part["methods"]] == list(METHODS)
    assert [r["what"] for r in by_part["methods"] if not r["loss after"] < r["loss before"]] == []
    kinds = [(row["what"], row["directions"]) for row in by_part["steps"][1:]]
    assert kinds == [("rank 1", 6), ("Gaussian", 6), ("rank 1", 8), ("Gaussian", 8)]
    (replayed,) = [row for row in rows if row["part"] == "replay"]
    assert replayed["same bits"]
    page = (tmp_path / "gpu.md").read_text()
    assert [
        p for p in ("methods", "steps", "text", "reward", "replay") if f"## {p}" not in page
    ] == []


def test_the_large_model_has_a_billion_parameters():
    leaves = jax.tree.leaves(abstract_params(gpu.BILLION.config))
    assert 1e9 < sum(leaf.size for leaf in leaves) < 1.2e9
