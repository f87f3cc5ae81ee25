"""Runs whose learning rate nobody gives: their steps have a planned length."""

import dataclasses
import math

import pytest
from tiny_text import write_decoder

from loren_jax import journal
from loren_jax.cli import main
from loren_jax.reports import files
from loren_jax.train import (
    OPTIONS,
    LorenOptions,
    MezoSvrgOptions,
    TrainRewardConfig,
    train,
    training,
)
from loren_jax.train.rates import unpaced
from loren_jax.train.training import advance, resume


@pytest.fixture(scope="module")
def config(tiny):
    return dataclasses.replace(
        tiny,
        optimizer=LorenOptions(num_directions=4, rank=1),
        steps=12,
        eval_every=6,
        checkpoint_every=5,
    )


@pytest.fixture(scope="module")
def whole(config):
    """The run that never stops."""
    return train(config)


def test_the_journal_has_the_walk_and_the_passes_count_its_search(whole):
    header = journal.read(whole.directory / files.JOURNAL).header
    assert header["method"]["schedule"]["automatic"]["steps"] == 12
    assert header["method"]["schedule"]["automatic"]["walk"] > 0
    assert "learning_rate" not in header["method"]["knobs"]
    assert whole.summary.as_json()["forward_passes"] == 12 * 4 + 81


def test_a_run_that_pauses_keeps_its_walk_and_ends_in_the_same_bits(config, whole, tmp_path):
    paused = dataclasses.replace(config, output=tmp_path / "run")
    advance(paused, share=0.5)
    directory = advance(paused).directory
    read = lambda directory: journal.read(directory / files.JOURNAL)
    assert read(directory).header["method"] == read(whole.directory).header["method"]
    assert read(directory).losses.tolist() == read(whole.directory).losses.tolist()
    model = "model/model.safetensors"
    assert (directory / model).read_bytes() == (whole.directory / model).read_bytes()


def test_what_replaced_a_run_goes_on_with_its_own_walk(config, tmp_path, capsys):
    own = dataclasses.replace(config, output=tmp_path / "run", overwrite=True)
    advance(own, share=0.5)
    capsys.readouterr()
    resume(tmp_path / "run")
    assert "no learning rate" not in capsys.readouterr().err


def test_the_journal_gives_the_model_again(config, whole, tmp_path, capsys):
    assert main(["verify", str(whole.directory)]) == 0
    assert capsys.readouterr().out.count("to the bit") == 2  # the base, and what the run kept
    file, step = whole.directory / files.JOURNAL, str(whole.summary.selected_step)
    arguments = ["--base", config.model, "--step", step, "--output", str(tmp_path / "again")]
    assert main(["replay", str(file), *arguments]) == 0
    name = "model.safetensors"
    again, kept = tmp_path / "again" / name, whole.directory / files.MODEL / name
    assert again.read_bytes() == kept.read_bytes()
    assert main(["info", str(whole.directory)]) == 0
    assert "'walk': " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizer": LorenOptions(learning_rate=0.1)}, "learning_rate is given"),
        ({"warmup_steps": 2}, "warmup_steps 2"),
        ({"optimizer": MezoSvrgOptions()}, "not with mezo_svrg"),
    ],
)
def test_what_has_no_automatic_rate_is_refused(config, changes, said):
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(config, schedule="automatic", **changes)


@pytest.mark.parametrize("method", sorted(OPTIONS))
def test_every_method_does_without_a_rate_or_says_why(config, method):
    """Also one whose further rates have defaults, which nobody has given."""
    along = {"input_directions": 2} if method == "input_subspace" else {}
    options = dataclasses.replace(config, optimizer=OPTIONS[method](), **along)
    if unpaced(options) is None:
        assert options.resolve(batches=2, trained_parameters=10).schedule == "automatic"
    else:
        assert method == "mezo_svrg"


def test_a_further_rate_that_is_given_is_refused(config):
    given = dataclasses.replace(config, optimizer=OPTIONS["zo_muon"](vector_learning_rate=0.01))
    with pytest.raises(ValueError, match="vector_learning_rate is given"):
        given.resolve(batches=2, trained_parameters=10)


def test_a_method_with_two_rates_runs_without_them(config, tmp_path):
    own = OPTIONS["zo_muon"](orthogonalise="power", power_rank=1)
    run = train(dataclasses.replace(config, optimizer=own, output=tmp_path / "run", steps=2))
    assert journal.read(run.directory / files.JOURNAL).header["method"]["schedule"]["automatic"]


def test_a_rate_that_is_given_is_constant(config):
    given = dataclasses.replace(config, optimizer=LorenOptions(learning_rate=0.1))
    settled = given.resolve(batches=2, trained_parameters=10)
    assert (settled.schedule, settled.optimizer.learning_rate) == ("constant", 0.1)


def test_a_dry_run_looks_for_no_walk(config, monkeypatch, tmp_path):
    monkeypatch.setattr(training, "plan_of", lambda *_, **__: pytest.fail("it was looked for"))
    found = training.forecast(dataclasses.replace(config, output=tmp_path / "run"))
    assert found.forward_passes == 12 * 4 + 81


def test_a_reward_has_an_automatic_rate():
    config = TrainRewardConfig(
        optimizer=LorenOptions(), model="m", data="d.jsonl", reward="length", steps=2
    )
    assert config.resolve(batches=2, trained_parameters=10).schedule == "automatic"


def test_a_classification_tells_what_knowing_nothing_costs(whole):
    plan = journal.read(whole.directory / files.JOURNAL).header["method"]["schedule"]["automatic"]
    assert plan["chance"] == pytest.approx(math.log(2))


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_beside_a_new_head_answers_tell_the_walk(kind, config, tmp_path, capsys):
    """Its losses say nothing of what the rest of the model bears; of a trained head they do."""
    if kind == "decoder":  # whose new head has no bias
        decoder = str(write_decoder(tmp_path / kind))
        config = dataclasses.replace(config, model=decoder, pooling=None)
    every = dataclasses.replace(config, trainable=("*",), steps=2)
    run = train(dataclasses.replace(every, output=tmp_path / "new"))
    told = capsys.readouterr().err
    assert "the head is new" in told
    assert "as 81 forward passes found" in told
    assert run.summary.forward_passes == 2 * 4 + 81
    train(dataclasses.replace(every, model=str(run.directory), output=tmp_path / "trained"))
    train(dataclasses.replace(config, trainable=("head",), steps=2, output=tmp_path / "head"))
    assert "the head is new" not in capsys.readouterr().err
