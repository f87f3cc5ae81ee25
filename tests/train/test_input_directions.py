"""Runs whose directions lie along the inputs."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from loren_jax import journal
from loren_jax.models import load_classifier
from loren_jax.reports import read_metrics
from loren_jax.train import LorenOptions, resume, train, training
from loren_jax.train.reconstruction import export_step, verify


@pytest.fixture(scope="module")
def config(tiny):
    options = LorenOptions(learning_rate=0.2, num_directions=4, rank=1)
    trainable = ("classifier/kernel", "layers/up/kernel")
    own = {"steps": 6, "eval_every": 6, "eval_batch_size": 16, "input_directions": 2}
    return dataclasses.replace(tiny, optimizer=options, trainable=trainable, **own)


@pytest.fixture(scope="module")
def run(config):
    return train(config).directory


def factors(run):
    method = journal.read(run / "run.journal").header["method"]
    return journal.factors.load(run / "run.journal", method["factors"])


def test_the_matrices_move_along_them_alone(config, run):
    start = load_classifier(config.model, num_labels=2, pooling="mean", key=0).params
    again = journal.replay(start, run / "run.journal").params
    for path, vectors in factors(run).items():
        *folders, leaf = path.split("/")
        before, after = start, again
        for name in (*folders, leaf):
            before, after = before[name], after[name]
        moved = np.asarray(after - before, np.float64).reshape(-1, *after.shape[-2:])
        span = vectors.reshape(-1, *vectors.shape[-2:])
        outside = moved - span @ np.linalg.pinv(span) @ moved
        assert np.abs(outside).max() < 1e-6 < 1e-3 < np.abs(moved).max()


def test_they_need_no_learning_rate(config, tmp_path, capsys):
    options = dataclasses.replace(config.optimizer, learning_rate=None)
    found = train(dataclasses.replace(config, optimizer=options, output=tmp_path / "run")).directory
    assert "no learning rate: the steps together move" in capsys.readouterr().err
    assert journal.read(found / "run.journal").header["method"]["schedule"]["automatic"]["walk"] > 0
    assert verify(found).same


def test_what_finds_them_counts(run):
    """Forty examples are five batches; a step is four passes."""
    steps = [event for event in read_metrics(run) if event["event"] == "step"]
    assert [step["forward_passes"] for step in steps[:2]] == [5 + 4, 5 + 8]


def test_the_journal_needs_them(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    assert verify(copy).same
    (copy / journal.factors.FACTORS).unlink()
    with pytest.raises(journal.JournalError, match="is not beside it"):
        export_step(copy, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def as_version_0_1_0_wrote_it(run, copy, steps):
    """The run's directory behind some steps, when such directions were an option of LOREN."""
    shutil.copytree(run, copy)
    for name in ("checkpoints", "model"):
        shutil.rmtree(copy / name, ignore_errors=True)
    for name in ("run.journal", "summary.json"):
        (copy / name).unlink()
    values = json.loads((run / "config.json").read_text())
    recorded = journal.read(run / "run.journal")
    method, options = recorded.header["method"], values["config"]["optimizer"]
    gone = {"damping": 0.3, "covariance_learning_rate": 1e-3, "covariance": "learned"}
    values["config"]["optimizer"] = {**options, "name": "loren", **gone, "structure": "block"}
    method |= {"name": "loren", "knobs": {**method["knobs"], **gone, "structure": "block"}}
    header = recorded.header | {"method": method}
    header["run"]["config"] = values["config"]
    (copy / "config.json").write_text(json.dumps(values))
    with journal.create(copy / "run.journal", header) as log:
        for number, losses in enumerate(recorded.losses[:steps]):
            log.append(number, losses)
    return copy


def test_a_run_of_version_0_1_0_goes_on_and_is_made_again(config, run, tmp_path):
    old = as_version_0_1_0_wrote_it(run, tmp_path / "old", steps=3)
    export_step(old, tmp_path / "then", step=3)
    export_step(run, tmp_path / "now", step=3)
    weights = [(tmp_path / n / "model.safetensors").read_bytes() for n in ("then", "now")]
    assert weights[0] == weights[1]
    resume(old)
    assert verify(old).same
    ends = [(place / "model" / "model.safetensors").read_bytes() for place in (old, run)]
    assert ends[0] == ends[1]
    assert np.array_equal(*(journal.read(p / "run.journal").losses for p in (old, run)))


def test_a_run_in_its_place_leaves_none_behind(config, run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    plain = {"optimizer": LorenOptions(learning_rate=0.05), "input_directions": None}
    train(dataclasses.replace(config, **plain, output=copy, overwrite=True, steps=1))
    assert not (copy / journal.factors.FACTORS).exists()


def test_what_has_no_inputs_or_several_devices_is_refused(config, tmp_path, monkeypatch):
    """Before anything is written."""
    other = dataclasses.replace(config, output=tmp_path / "run")
    with pytest.raises(ValueError, match="input_directions: no trained leaf is a matrix"):
        train(dataclasses.replace(other, trainable=("classifier/bias",)))
    evaluation = SimpleNamespace(mesh=SimpleNamespace(size=2))
    two = SimpleNamespace(evaluation=evaluation, require_batch=lambda *sizes: None)
    monkeypatch.setattr(training, "Devices", lambda sizes, **options: two)
    with pytest.raises(ValueError, match="found on one device so far"):
        train(other)
    assert not (tmp_path / "run").exists()
