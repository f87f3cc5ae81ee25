"""Whole runs under a protocol, with a prompt, and with several seeds."""

import dataclasses
import json
import re
import shutil

import jax
import numpy as np
import pytest
from tiny_task import write_language_model, write_task

from loren_jax.models import load_classifier, load_language_model
from loren_jax.reports import read_metrics
from loren_jax.train import EvaluateConfig, LorenOptions, evaluate, train, train_seeds
from loren_jax.train.seeds import seeds_text


@pytest.fixture(scope="module")
def config(tiny, place):
    """All examples that the task has are used, or asked for."""
    write_language_model(place / "language_model")
    own = {"data_dir": write_task(place / "data"), "held_out_examples": 500, "dev_examples": 12}
    return dataclasses.replace(
        tiny,
        optimizer=LorenOptions(learning_rate=0.5, num_directions=4),
        steps=8,
        max_length=None,
        trainable=("classifier/*",),
        eval_every=1,
        eval_batch_size=12,
        **own,
    )


@pytest.fixture(scope="module")
def clean(config):
    return train(config)


def evaluated(result, place, **more):
    model = str(result.directory / "model")
    return evaluate(EvaluateConfig(model=model, data="sst2", data_dir=place / "data", **more))


def test_the_selected_parameters_are_kept_and_tested_once(clean, place):
    summary = clean.summary
    lines = [line for line in read_metrics(clean.directory) if line["event"] == "evaluation"]
    best = max(lines, key=lambda line: (line["accuracy"], -line["loss"]))
    assert (summary.selected_step, summary.metric) == (best["step"], "accuracy")
    assert [summary.after[name] for name in ("accuracy", "loss")] == [
        best["accuracy"],
        best["loss"],
    ]
    assert [line["best"] for line in lines].count(True) >= 1
    assert (summary.facts["train_examples"], summary.facts["held_out_examples"]) == (40, 12)
    scores, majority = evaluated(clean, place)
    tested = dict(summary.test)
    assert scores.pop("by_class") == tested.pop("by_class")
    assert {**scores, "majority_accuracy": majority} == pytest.approx(tested, rel=1e-6)
    assert (scores["examples"], majority) == (20, 0.5)


def test_every_report_names_the_protocol(clean):
    title = "clean (train_examples 40, not 512; dev_examples 12, not 256; max_length 16, not 128)"
    assert clean.summary.facts["protocol"] == title
    assert json.loads((clean.directory / "summary.json").read_text())["protocol"] == title
    assert json.loads((clean.directory / "config.json").read_text())["config"]["data"] == "sst2"
    assert load_classifier(clean.directory / "model").label_names == ("negative", "positive")


def test_paper_stops_without_improvement_and_reports_the_best(config, tmp_path):
    """A learning rate so small that nothing changes: the first evaluation stays the best."""
    options = LorenOptions(learning_rate=1e-30, num_directions=2)
    changes = {"optimizer": options, "protocol": "paper", "patience": 2}
    result = train(dataclasses.replace(config, output=tmp_path / "paper", **changes))
    summary = result.summary
    assert (summary.steps, summary.stopped, summary.interrupted) == (2, True, False)
    lines = read_metrics(result.directory)
    found = [line["accuracy"] for line in lines if line["event"] == "evaluation"]
    assert (summary.selected_step, summary.after["accuracy"]) == (0, max(found))
    assert (summary.test, summary.facts["held_out_examples"]) == (None, 12)
    assert summary.facts["protocol"].startswith("paper (")


@pytest.mark.slow
def test_seeds_have_runs_of_their_own_and_a_mean(config, tmp_path):
    several = dataclasses.replace(config, steps=1, seeds=(0, 1), output=tmp_path / "several")
    result = train_seeds(several)
    found = [run.summary.test["accuracy"] for run in result.results]
    values = json.loads((result.directory / "seeds.json").read_text())
    assert (values["seeds"], values["runs"]) == ([0, 1], ["seed0", "seed1"])
    assert values["statistics"]["test accuracy"]["mean"] == pytest.approx(np.mean(found))
    assert values["statistics"]["test accuracy"]["std"] == pytest.approx(np.std(found, ddof=1))
    assert (result.directory / "seed1" / "summary.json").exists()
    assert f"test accuracy        {np.mean(found):.3f} ± " in seeds_text(result)
    with pytest.raises(FileExistsError, match="already holds a run"):
        train_seeds(several)
    with pytest.raises(ValueError, match="call train_seeds"):
        train(several)


@pytest.fixture(scope="module")
def prompted(config, place):
    options = {"pooling": None, "steps": 3, "eval_every": 3, "trainable": ("layers/up/*",)}
    model = str(place / "language_model")
    return train(
        dataclasses.replace(config, model=model, prompt=True, output=place / "prompt", **options)
    )


def test_a_prompted_model_is_scored_as_it_was_trained(prompted, place):
    directory = prompted.directory / "model"
    values = json.loads((directory / "prompt.json").read_text())
    assert values["words"] == ["terrible", "great"]
    assert values["label_names"] == ["negative", "positive"]
    scores, majority = evaluated(prompted, place)
    found = {**scores, "majority_accuracy": majority}
    tested = dict(prompted.summary.test)
    assert found.pop("by_class") == tested.pop("by_class")
    assert found == pytest.approx(tested, rel=1e-5)
    assert prompted.summary.facts["prompt"]


def test_a_prompted_model_stays_a_language_model(prompted, place):
    before = load_language_model(place / "language_model")
    after = load_language_model(prompted.directory / "model")
    same = jax.tree.map(np.array_equal, before.params, after.params)
    moved = {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, equal in jax.tree_util.tree_leaves_with_path(same)
        if not equal
    }
    assert moved <= {"layers/up/kernel", "layers/up/bias"}
    if prompted.summary.selected_step:
        assert moved


def test_a_damaged_prompt_is_said_so(prompted, place, tmp_path):
    model = shutil.copytree(prompted.directory / "model", tmp_path / "model")
    (model / "prompt.json").write_text('{"template": "x"}')
    with pytest.raises(ValueError, match=r"prompt\.json is damaged: KeyError"):
        evaluate(EvaluateConfig(model=str(model), data="sst2", data_dir=place / "data"))


BAD = {
    "positions": ({"max_length": 1024}, "max_length is 1024, but the model has 16 positions"),
    "batch": ({"batch_size": 60, "train_examples": 100}, "batch_size is 60.* only 54 training"),
    "held-out data": ({"held_out_data": "x.tsv"}, "sst2 has a validation split of its own"),
    "data_dir": ({"data": "reviews.tsv", "protocol": None}, "data_dir is for the named tasks"),
    "words": (
        {"prompt": True, "pooling": None, "words": ("bad", "great"), "model": "language_model"},
        "'bad' is unknown to this tokenizer; .*out of: great",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name, config, place, tmp_path):
    changes, message = BAD[name]
    if "model" in changes:
        changes = {**changes, "model": str(place / changes["model"])}
    wrong = dataclasses.replace(config, output=tmp_path / "out", **changes)
    with pytest.raises(ValueError, match=message):
        train(wrong)
    assert not (tmp_path / "out").exists()


def test_a_head_for_other_classes_is_refused(config, clean, place, tmp_path):
    (tmp_path / "cb").mkdir()
    rows = [{"premise": "film", "hypothesis": "plot", "label": "neutral"}] * 12
    for name in ("train", "val"):
        (tmp_path / "cb" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    model = str(clean.directory / "model")
    other = dataclasses.replace(config, model=model, data="cb", data_dir=tmp_path, batch_size=2)
    with pytest.raises(ValueError, match=r"num_labels=3, but .* has 2 labels"):
        train(dataclasses.replace(other, output=tmp_path / "out"))


def test_the_card_of_a_prompted_model_says_how_to_ask_it(prompted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(shutil.copytree(prompted.directory / "model", tmp_path / "model"))
    text = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: fill-mask" in text
    assert "On test examples:" in text
    own = re.search(r"^```python\n(from pathlib.*?)^```", text, re.MULTILINE | re.DOTALL)
    exec(compile(own[1], "README.md", "exec"), {})
    assert "'probability_negative'" in capsys.readouterr().out
