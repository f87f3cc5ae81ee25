"""The example of a decoder of one's own that learns from a reward."""

import re
import subprocess
import sys

import pytest
from scripts import ROOT, environment

SCRIPT = ROOT / "examples" / "nnx_reward.py"


def test_it_is_short():
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.slow
def test_answers_to_held_out_prompts_are_worth_more():
    pytest.importorskip("flax")
    ran = subprocess.run(
        [sys.executable, str(SCRIPT)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=900,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    before, after = map(float, re.findall(r"\d\.\d{3}", ran.stdout))
    assert before < 0.55
    assert after > 0.75
