"""Whole runs from Python, and their learning rates."""

import dataclasses
import json
import math
import shutil

import chex
import jax
import numpy as np
import pytest
from tiny_task import write_data

from loren_jax.journal import schedules
from loren_jax.models import load_classifier
from loren_jax.objectives import Classification
from loren_jax.train import OPTIONS, EvaluateConfig, evaluate, train, training
from loren_jax.train.training import schedule_description

# One worker, which sets up once.
pytestmark = pytest.mark.xdist_group("training")


@pytest.fixture(scope="module")
def config(tiny, place):
    own = {"data": str(place / "reviews.tsv"), "data_dir": None, "steps": 4, "eval_every": 2}
    return dataclasses.replace(tiny, schedule="linear", **own)


@pytest.fixture(scope="module")
def result(config):
    return train(config)


def test_trains_what_the_patterns_name_and_nothing_else(config, result, place):
    before = load_classifier(place / "encoder", num_labels=2, pooling="mean", key=0)
    after = load_classifier(result.directory / "model")
    pairs = zip(
        jax.tree_util.tree_leaves_with_path(before.params),
        jax.tree.leaves(after.params),
        strict=True,
    )
    moved = {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for (path, old), new in pairs
        if np.any(np.asarray(old) != np.asarray(new))
    }
    assert moved == {"classifier/bias", "classifier/kernel", "layers/up/kernel"}
    assert result.summary.facts["trained_parameters"] == 2 * 8 * 12 + 8 * 2 + 2
    assert after.label_names == ("negative", "positive")


def test_compiles_the_step_once(config, result, monkeypatch, place):
    chex.clear_trace_counter()
    # Once to see by which axes it reads its leaves, once for the step.
    monkeypatch.setattr(Classification, "loss", chex.assert_max_traces(Classification.loss, 2))
    again = train(dataclasses.replace(config, output=place / "counted"))
    assert again.summary.after == result.summary.after


@pytest.mark.parametrize(
    ("name", "passes"), [("mezo_svrg", 5 * 2 + 4 + 5 * 2), ("hizoo", 3 * 3), ("zo_muon", 3 * 5)]
)
def test_other_methods_train_too(config, place, tmp_path, name, passes):
    """Three steps; MeZO-SVRG's full ones see all five batches. In micro-batches of three rows."""
    options = OPTIONS[name](learning_rate=0.01)
    result = train(
        dataclasses.replace(
            config, optimizer=options, steps=3, micro_batch_size=3, output=tmp_path / name
        )
    )
    assert result.summary.forward_passes == passes
    assert np.isfinite(result.summary.after["loss"])
    assert result.summary.after["loss"] != result.summary.before["loss"]


def test_a_run_is_replaced_only_when_asked(config, result):
    with pytest.raises(FileExistsError, match="already holds a run"):
        train(config)
    shorter = dataclasses.replace(config, steps=1, overwrite=True)
    replaced = train(shorter)
    assert replaced.directory == result.directory
    assert json.loads((result.directory / "summary.json").read_text())["steps"] == 1


def test_a_head_that_knows_the_classes_keeps_their_order(config, place, tmp_path):
    first = train(dataclasses.replace(config, output=tmp_path / "first", steps=1))
    model = shutil.copytree(first.directory / "model", tmp_path / "swapped")
    raw = json.loads((model / "config.json").read_text())
    raw |= {"id2label": {"0": "positive", "1": "negative"}, "label2id": {}}
    (model / "config.json").write_text(json.dumps(raw))
    second = train(dataclasses.replace(config, model=str(model), output=tmp_path / "b", steps=1))
    assert load_classifier(second.directory / "model").label_names == ("positive", "negative")
    swapped = 1 - first.summary.after["accuracy"]
    assert second.summary.before["accuracy"] == pytest.approx(swapped)


def test_evaluation_of_a_whole_file(result, place, tmp_path):
    """Also with classes in other case and by number."""
    config = EvaluateConfig(
        model=str(result.directory / "model"), data=str(place / "reviews.tsv"), max_length=16
    )
    scores, majority = evaluate(config)
    assert (scores["examples"], majority) == (60, 0.5)
    again = [{"model": str(result.directory)}]
    for number, labels in enumerate([("NEGATIVE", "Positive"), ("0", "1")]):
        again.append({"data": str(write_data(tmp_path / f"{number}.tsv", labels=labels))})
    for other in again:
        assert evaluate(dataclasses.replace(config, **other)).scores == scores
    write_data(tmp_path / "other.tsv", labels=("negative", "mixed"))
    with pytest.raises(ValueError, match=r"other.tsv, line 3: unknown label 'mixed'"):
        evaluate(dataclasses.replace(config, data=str(tmp_path / "other.tsv")))


def test_what_a_run_held_out_it_says_itself(config, place, tmp_path):
    """By the defaults rows that it was trained on would count as held out."""
    data = str(place / "reviews.tsv")
    own = {"data": data, "data_dir": None, "train_examples": 30}
    own |= {"held_out_examples": 12, "seed": 3, "steps": 1, "output": tmp_path / "run"}
    run = train(dataclasses.replace(config, **own))
    asked = EvaluateConfig(model=str(run.directory), data=data, held_out=True)
    scores = evaluate(asked).scores
    assert scores["examples"] == 12
    assert scores["loss"] == pytest.approx(run.summary.after["loss"], abs=1e-5)
    assert evaluate(dataclasses.replace(asked, seed=3)).scores == scores
    with pytest.raises(
        ValueError, match=r"seed is 4, but the run of .* what it held out, with 3: leave seed out"
    ):
        evaluate(dataclasses.replace(asked, seed=4))


def rates(*arguments, steps=8, **options):
    schedule = schedules.build(schedule_description(*arguments, steps=steps, **options))
    return [float(schedule(step)) for step in range(steps + 1)]


@pytest.mark.parametrize(
    ("kind", "fall"),
    [
        ("constant", lambda done: 1.0),
        ("linear", lambda done: 1.0 - done),
        ("cosine", lambda done: (1 + math.cos(math.pi * done)) / 2),
    ],
)
@pytest.mark.parametrize("warmup", [0, 3])
def test_shapes(kind, fall, warmup):
    if kind == "constant" and not warmup:
        assert schedule_description("constant", 0.1, 10) is None
        return
    found = rates(kind, 2.0, warmup_steps=warmup)
    rising = [2.0 * (step + 1) / (warmup + 1) for step in range(warmup)]
    falling = [2.0 * fall((step - warmup) / (8 - warmup)) for step in range(warmup, 9)]
    assert found == pytest.approx(rising + falling, abs=1e-6)
    assert found[0] > 0


def test_a_run_reports_to_other_programs_and_callbacks(tiny, tmp_path, monkeypatch):
    """And one that replaces it leaves nothing of what the former reported."""
    heard, boards = [], []

    class Board:
        def __init__(self, directory):
            boards.append(directory)

        def __call__(self, event):
            (boards[-1] / "tensorboard").mkdir(exist_ok=True)
            (boards[-1] / "tensorboard" / f"{event['step']}").touch()

    monkeypatch.setattr(training, "TRACKERS", {"tensorboard": Board})
    config = dataclasses.replace(
        tiny, output=tmp_path / "run", steps=2, eval_every=2, report_to=("tensorboard",)
    )
    train(config, callbacks=[heard.append])
    assert boards == [tmp_path / "run"]
    assert [event["event"] for event in heard] == [
        *("config", "evaluation", "step", "step", "evaluation", "summary"),
    ]
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 3
    train(dataclasses.replace(config, report_to=(), overwrite=True))
    assert not (tmp_path / "run" / "tensorboard").exists()
