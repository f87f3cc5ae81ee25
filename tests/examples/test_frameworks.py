"""The recipes for models of Flax, Equinox and Keras."""

import re
import subprocess
import sys

import pytest
from scripts import ROOT, environment

RECIPES = {
    "nnx_dropout": "flax",
    "linen_batch_norm": "flax",
    "equinox_run": "equinox",
    "keras_model": "keras",
}
recipes = pytest.mark.parametrize("name", RECIPES)


def script(name):
    return ROOT / "examples" / f"{name}.py"


@recipes
def test_it_is_short(name):
    assert len(script(name).read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.slow
@recipes
def test_it_learns_to_read_digits(name, tmp_path):
    pytest.importorskip(RECIPES[name])
    pytest.importorskip("sklearn")
    ran = subprocess.run(
        [sys.executable, str(script(name))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=900,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    *_, last = re.findall(r"\d\.\d{3}", ran.stdout)
    assert float(last) > 0.8
