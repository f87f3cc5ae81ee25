"""A search in place of training: the best of many perturbed models, and what the best few say."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_text import write_decoder, write_dialogues

from loren_jax import journal
from loren_jax.cli import main
from loren_jax.models import load_language_model
from loren_jax.reports import read_metrics
from loren_jax.train import OPTIONS, TrainRewardConfig, training
from loren_jax.train.best_of import majority


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("best-of")
    reward = place / "rewards.py"
    reward.write_text("def varied(prompt, answer, example):\n    return len(set(answer))\n")
    model, data = write_decoder(place / "decoder"), write_dialogues(place / "dialogues.jsonl")
    command = ["train", "--objective", "reward", "--model", str(model), "--data", str(data)]
    command += ["--reward", f"{reward}:varied", "--output", str(place / "run"), "--rank", "1"]
    command += ["--steps", "9", "--batch-size", "4", "--max-new-tokens", "4", "--baseline"]
    command += ["best-of", "--voters", "3", "--learning-rate", "0.1", "--num-directions", "4"]
    assert main([*command, "--perturbation-scale", "0.3"]) == 0
    return model, place / "run"


def test_without_a_rate_it_looks_for_no_walk(tmp_path, monkeypatch):
    model, data = write_decoder(tmp_path / "decoder"), write_dialogues(tmp_path / "dialogues.jsonl")
    config = TrainRewardConfig(
        optimizer=OPTIONS["loren"](num_directions=4, rank=1),
        model=str(model),
        data=str(data),
        reward="length:5",
        output=tmp_path / "run",
        steps=3,
        batch_size=4,
        max_new_tokens=4,
        baseline="best-of",
        voters=3,
    )
    monkeypatch.setattr(training, "plan_of", lambda *_, **__: pytest.fail("it was looked for"))
    assert training.train(config).summary.forward_passes == 3 * 4


@pytest.mark.slow
def test_it_asks_as_many_answers_as_a_run_and_keeps_the_best(run):
    _, directory = run
    summary = json.loads((directory / "summary.json").read_text())
    assert summary["forward_passes"] == 9 * 4
    # A third of the steps each: three batches of prompts, to three times four models.
    assert (summary["candidates"], summary["voters"]) == (12, 3)
    assert summary["reward_after"] > summary["reward_before"]
    assert summary["vote_reward_after"] > 0
    scores = [e["reward"] for e in read_metrics(directory) if e["event"] == "evaluation"]
    assert scores == [summary["reward_before"], summary["reward_after"]]
    rows = [json.loads(line) for line in (directory / "answers.jsonl").read_text().splitlines()]
    assert np.mean([row["reward_after"] for row in rows]) == pytest.approx(summary["reward_after"])
    assert not (directory / "run.journal").exists()


@pytest.mark.slow
def test_the_model_is_one_of_those_that_a_run_would_ask(run):
    model, directory = run
    params = load_language_model(model).params
    knobs = {"learning_rate": 0.1, "num_directions": 4, "perturbation_scale": 0.3, "rank": 1}
    optimizer = journal.Method("loren", knobs).build()
    found = load_language_model(directory / "model").params["word"]["embedding"]

    @jax.jit
    def asked(draw, k):
        state = optax.tree.set(optimizer.init(params), count=draw)
        return optimizer.ask(params, state, k, 0)["word"]["embedding"]

    words = [asked(jnp.int32(draw), k) for draw in range(3) for k in range(4)]
    assert sum(np.allclose(word, found, rtol=1e-5, atol=1e-6) for word in words) == 1


@pytest.mark.parametrize(
    ("answers", "chosen"),
    [
        (["a", "b", "b"], "b"),
        (["a", "b", "c"], "a"),
        (["The  cat", "dog", "the cat"], "The  cat"),
        ([""], ""),
    ],
)
def test_the_most_frequent_answer_wins_and_the_better_one_of_equals(answers, chosen):
    assert majority(answers) == chosen
