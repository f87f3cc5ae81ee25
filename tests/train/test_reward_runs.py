"""Runs on a reward: answers that are worth more, with the promises of all runs."""

import dataclasses
import json
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stopped_runs import KILLED, facts, stopped
from tiny_text import write_decoder, write_dialogues

from loren_jax import journal
from loren_jax.cli import main
from loren_jax.models import load_language_model
from loren_jax.objectives import Reward
from loren_jax.reports import read_metrics
from loren_jax.reports.summary import summary_text
from loren_jax.train import LorenOptions, TrainRewardConfig, resume, train
from loren_jax.train.config import config_from_json
from loren_jax.train.reconstruction import export_step, verify

REWARD = """
import os

def reward(prompt, answer, example):
    if os.path.exists({stop!r}):
        raise KeyError("stopped")
    return answer.count("a") + 0.1 * len(example["completion"])

def varied(prompt, answer, example):
    return len(set(answer))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    reward = place / "rewards.py"
    reward.write_text(REWARD.format(stop=str(place / "stop")))
    return write_decoder(place / "decoder"), write_dialogues(place / "dialogues.jsonl"), reward


@pytest.fixture(scope="module")
def config(files, tmp_path_factory):
    return TrainRewardConfig(
        optimizer=LorenOptions(
            learning_rate=0.01, num_directions=3, rank=1, perturbation_scale=0.1
        ),
        model=str(files[0]),
        data=str(files[1]),
        reward=f"{files[2]}:reward",
        output=tmp_path_factory.mktemp("runs") / "whole",
        batch_size=4,
        max_new_tokens=6,
        temperature=1.0,
        steps=6,
        eval_every=3,
        checkpoint_every=2,
    )


@pytest.fixture(scope="module")
def whole(config):
    """The run that never stops."""
    return train(config)


def losses(directory):
    return journal.read(directory / "run.journal").losses


def test_it_tells_what_answers_were_worth(whole, config):
    after = whole.summary.after
    assert {"reward", "truncated", "failed", "train_reward", "changed", "tied"} <= set(after)
    assert after["failed"] == 0
    assert 0 < after["changed"] <= 1
    recorded = losses(config.directory)
    assert recorded.shape == (6, 3, 1)
    # Centred over the queries, prompt by prompt.
    np.testing.assert_allclose(recorded.mean(axis=1), 0, atol=1e-6)
    assert np.ptp(recorded) > 0
    told = json.loads((config.directory / "model" / "text.json").read_text())
    assert told["template"] == "plain"  # by which `generate` asks it again
    rows = [json.loads(x) for x in (config.directory / "answers.jsonl").read_text().splitlines()]
    assert len(rows) == whole.summary.after["examples"]
    assert {"asked", "wanted", "before", "reward_before", "after", "reward_after"} <= set(rows[0])
    worth = np.mean([row["reward_after"] for row in rows])
    np.testing.assert_allclose(worth, after["reward"], rtol=1e-6)
    assert after["tokens_per_second"] > 0
    assert "72 in training" in summary_text(whole.summary, config.directory)
    card = (config.directory / "model" / "README.md").read_text()
    assert "reward" in card


def test_without_a_rate_the_prompts_tell_how_long_the_steps_are(config, tmp_path):
    options = dataclasses.replace(config.optimizer, learning_rate=None)
    run = train(dataclasses.replace(config, optimizer=options, output=tmp_path / "run", steps=3))
    plan = journal.read(run.directory / "run.journal").header["method"]["schedule"]["automatic"]
    assert plan["longest"] == 1.0  # losses that are compared have a mean of zero
    assert plan["walk"] > 0
    assert run.summary.forward_passes == 3 * 3  # each of which gives answers
    assert "36 in training" in summary_text(run.summary, run.directory)


@pytest.mark.parametrize("rank", [None, 2])
def test_the_loss_of_prompts_is_the_cross_entropy_of_their_tokens(config, rank):
    """Against each prompt by itself, without padding."""
    objective = Reward(dataclasses.replace(config, lora_rank=rank), shown=False)
    batch, params = objective.batch(0), objective.params
    found = objective.prompt_loss(params, batch, *objective.frozen)
    model = load_language_model(config.model)
    nats = []
    for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
        own = np.asarray(ids)[np.asarray(mask)][None]
        logits = model.apply(model.params, own, np.ones_like(own))[0].astype(jnp.float32)
        nats += list(-jax.nn.log_softmax(logits[:-1])[np.arange(own.size - 1), own[0, 1:]])
    np.testing.assert_allclose(found, np.mean(nats), rtol=1e-4)


@pytest.mark.slow
def test_a_run_that_paused_ends_in_the_same_bits(whole, config, tmp_path):
    short = dataclasses.replace(config, output=tmp_path / "run", steps=3)
    train(short)
    resume(tmp_path / "run", steps=6)
    np.testing.assert_array_equal(losses(tmp_path / "run"), losses(config.directory))
    model = "model/model.safetensors"
    assert (tmp_path / "run" / model).read_bytes() == (config.directory / model).read_bytes()


@pytest.mark.slow
def test_killed_in_the_middle_of_a_step_it_ends_in_the_same_bits(whole, config, tmp_path):
    directory = stopped(config, tmp_path / "run", 1)
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    moments = ["judging:0", "judging:1", "append:1", "between:50", "judging:2", "never:0"]
    result = subprocess.run(
        [sys.executable, KILLED, directory, *moments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[-1]) >= 3
    # What was counted of the answers in training is of the process that judged them.
    assert facts(directory)[:2] == facts(whole.directory)[:2]
    scores = [
        [e["reward"] for e in read_metrics(d) if e["event"] == "evaluation"]
        for d in (directory, whole.directory)
    ]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_another_reward_is_not_gone_on_with(config, files, tmp_path, monkeypatch):
    own = tmp_path / "own.py"
    own.write_text(files[2].read_text())
    monkeypatch.chdir(tmp_path)
    short = dataclasses.replace(config, output=tmp_path / "run", steps=1, reward="own.py:varied")
    train(short)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # the file is known by its whole path
    assert resume(tmp_path / "run", steps=2).summary.steps == 2
    own.write_text(own.read_text().replace("len(set(answer))", "1.0"))
    with pytest.raises(journal.JournalError, match="the reward of this run is not what it was"):
        resume(tmp_path / "run", steps=3)


def test_its_journal_makes_the_model_without_prompts_or_reward(whole, config, files, tmp_path):
    (files[2].parent / "stop").touch()
    try:
        assert verify(config.directory).same
        export_step(config.directory, tmp_path / "model", step=6)
    finally:
        (files[2].parent / "stop").unlink()
    model = "model.safetensors"
    own = config.directory / "model" / model
    assert (tmp_path / "model" / model).read_bytes() == own.read_bytes()


def test_all_queries_are_asked_at_once_unless_told_otherwise(config):
    settled = lambda config: config.resolve(batches=1, trained_parameters=1).optimizer.chunk_size
    assert settled(config) == 3
    one = dataclasses.replace(config.optimizer, chunk_size=1)
    assert settled(dataclasses.replace(config, optimizer=one)) == 1


def test_a_configuration_goes_round(config):
    assert config_from_json(json.loads(json.dumps(config.as_json()))) == config


@pytest.mark.slow
def test_answers_that_cannot_be_judged_are_told(files, config, tmp_path, capsys):
    (files[2].parent / "stop").touch()
    try:
        short = dataclasses.replace(config, output=tmp_path / "run", steps=1)
        summary = train(short).summary
    finally:
        (files[2].parent / "stop").unlink()
    assert summary.after["failed"] == 1
    assert math.isnan(summary.after["reward"])
    told = [line for line in capsys.readouterr().err.splitlines() if "no reward" in line]
    assert told[-2:] == [
        "warning: 12 of the held-out answers have no reward: KeyError: 'stopped'",
        "warning: 12 of the answers in training have no reward: KeyError: 'stopped'",
    ]
    np.testing.assert_array_equal(losses(tmp_path / "run"), 0.0)


@pytest.mark.slow
def test_a_reward_is_learned(files, tmp_path, capsys):
    """By the command; the share of the letter rises from what it is at the start."""
    command = ["train", "--objective", "reward", "--model", str(files[0]), "--data", str(files[1])]
    command += ["--reward", f"{files[2]}:varied", "--output", str(tmp_path / "run")]
    command += ["--steps", "40", "--eval-every", "40", "--max-new-tokens", "4", "--batch-size", "8"]
    command += ["--learning-rate", "0.03", "--perturbation-scale", "0.1", "--num-directions", "12"]
    assert main(command) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["reward_after"] > summary["reward_before"]
    assert "all answers are cut off: raise --max-new-tokens" in capsys.readouterr().err


@pytest.mark.slow
def test_adapters_and_pairs(config, tmp_path):
    asked = dataclasses.replace(config, output=tmp_path / "run", lora_rank=2, steps=2, keep="best")
    summary = train(asked).summary
    assert summary.metric == "reward"
    assert (tmp_path / "run" / "adapter" / "adapter_config.json").is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reward": "exakt"}, "reward 'exakt' is not known"),
        ({"max_new_tokens": 64}, "max_new_tokens is 64, but the model has 64 positions"),
        ({"temperature": -1.0}, "temperature must be zero or more"),
        ({"reward_seconds": 0.0}, "reward_seconds must be"),
        ({"micro_batch_size": 2}, "micro_batch_size has no effect on a reward"),
        ({"batch_size": 100}, "there are only 48 prompts to train on"),
        ({"data": "sst2"}, "data is the task sst2"),
        ({"voters": 3}, "voters vote where nothing is trained"),
        ({"baseline": "best-of", "keep": "best"}, "baseline best-of trains nothing"),
        ({"baseline": "best-of", "report_to": ("wandb",)}, "leave report_to away"),
        ({"anchored_weight_decay": 1.0}, "anchored_weight_decay must be at least 0 and below 1"),
    ],
)
def test_what_cannot_be_is_said(config, changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(config, output=tmp_path / "run", **changes))


def test_plain_texts_are_no_prompts(config, tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n' * 10)
    with pytest.raises(ValueError, match=r"texts.jsonl, line \d+: a plain text is no prompt"):
        train(
            dataclasses.replace(config, data=str(tmp_path / "texts.jsonl"), output=tmp_path / "r")
        )


@pytest.mark.slow
def test_an_anchored_run_stays_nearer_and_tells_how_near(config, tmp_path):
    summaries, journals = {}, {}
    for decay in (0.0, 0.5):
        own = dataclasses.replace(
            config, output=tmp_path / str(decay), steps=4, anchored_weight_decay=decay
        )
        summaries[decay] = train(own).summary
        journals[decay] = verify(own.directory)
    before, free, tied = summaries[0.5].before, summaries[0.0].after, summaries[0.5].after
    assert (before["distance"], before["kl"]) == (0.0, pytest.approx(0.0, abs=1e-6))
    assert 0 < tied["distance"] < free["distance"]
    assert tied["kl"] > 0
    # The journal says it, so that a replay goes back as far.
    assert all(verified.same for verified in journals.values())
