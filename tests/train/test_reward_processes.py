"""A run on a reward in two processes: each asks a part of the members, the first one judges."""

import json

import numpy as np
import pytest
from runs.test_processes import fine, group, losses, model, play
from tiny_text import write_decoder, write_dialogues

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("processes")]


def test_two_processes_answer_and_update_as_one(tmp_path):
    reward = tmp_path / "rewards.py"
    reward.write_text("def varied(prompt, answer, example):\n    return len(set(answer))\n")
    options = {
        "objective": "reward",
        "model": write_decoder(tmp_path / "decoder"),
        "data": write_dialogues(tmp_path / "dialogues.jsonl"),
        "reward": f"{reward}:varied",
        "steps": 4,
        "eval-every": 2,
        "batch-size": 4,
        "max-new-tokens": 6,
        "temperature": 1.0,
        "num-directions": 4,
        "rank": 1,
        "learning-rate": 0.03,
        "perturbation-scale": 0.1,
    }
    common = ["train", *(str(x) for n, v in options.items() for x in (f"--{n}", v))]
    output = lambda name: ["--output", str(tmp_path / name)]
    one, two = play(
        tmp_path,
        (1, [*common, *output("one")], None, {}),
        (2, [*common, *output("two"), *group("population=2")], None, {}),
    )
    fine(one)
    fine(two)
    assert np.ptp(losses(tmp_path / "one")) > 0
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=2e-5)
    found, wanted = model(tmp_path / "two"), model(tmp_path / "one")
    assert found.keys() == wanted.keys()
    for name, tensor in found.items():
        np.testing.assert_allclose(tensor, wanted[name], rtol=0, atol=1e-4, err_msg=name)
    texts = [(tmp_path / name / "answers.jsonl").read_text() for name in ("one", "two")]
    said = [[json.loads(line)["after"] for line in text.splitlines()] for text in texts]
    assert said[0] == said[1]
