"""Runs of a language model: the same promises as those of a classifier."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open
from stopped_runs import KILLED, facts, kills, stopped
from tiny_text import text_arguments, write_decoder, write_dialogues

from loren_jax import journal
from loren_jax.cli import main
from loren_jax.train import (
    OPTIONS,
    LorenOptions,
    TrainTextConfig,
    forecast,
    resume,
    sweep,
    train,
    train_seeds,
)
from loren_jax.train.config import config_from_json
from loren_jax.train.reconstruction import export_step, verify


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    return write_decoder(place / "decoder"), write_dialogues(place / "dialogues.jsonl")


@pytest.fixture(scope="module")
def config(files, tmp_path_factory):
    """Of rows in two shapes, with a dev split that selects."""
    return TrainTextConfig(
        optimizer=LorenOptions(learning_rate=0.01, num_directions=4, rank=1),
        model=str(files[0]),
        data=str(files[1]),
        output=tmp_path_factory.mktemp("runs") / "whole",
        keep="best",
        dev_examples=8,
        batch_size=4,
        eval_batch_size=8,
        max_length=60,
        buckets=2,
        steps=12,
        eval_every=4,
        checkpoint_every=3,
        schedule="cosine",
    )


@pytest.fixture(scope="module")
def whole(config):
    """The run that never stops."""
    return train(config)


def test_a_command_line_trains_and_tells(files, tmp_path, capsys):
    assert main(text_arguments(*files, tmp_path / "run", "--keep", "best")) == 0
    told = capsys.readouterr()
    assert "60 dialogues; 39 to train on, 9 and 12 held out" in told.err
    assert "dev token_accuracy" in told.out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["metric"] == "-loss"
    assert {"loss", "perplexity", "token_accuracy", "examples"} <= summary["test"].keys()
    assert (summary["texts_cut"], summary["template"]) == (0, "plain")
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "pipeline_tag: text-generation" in card
    assert "A language model, fine-tuned with forward passes only" in card
    assert 'write("User: ...' in card
    assert "## Classes" not in card


@pytest.mark.slow
def test_the_loss_falls(config, tmp_path):
    longer = dataclasses.replace(
        config, output=tmp_path / "run", keep="last", steps=100, eval_every=100
    )
    summary = train(longer).summary
    assert summary.after["loss"] < summary.before["loss"] - 0.2


@pytest.mark.parametrize("after", [0, 7])
def test_an_interrupted_run_goes_on_to_the_same_bits(config, whole, tmp_path, after):
    """In the middle of an epoch, whose batches have two shapes."""
    directory = stopped(config, tmp_path / "run", after)
    resume(directory)
    assert facts(directory) == facts(whole.directory)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_in_the_same_bits(config, whole, tmp_path):
    directory = stopped(config, tmp_path / "run", 0)
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    moments = [*kills(1)[:3], "never:0"]
    result = subprocess.run(
        [sys.executable, KILLED, directory, *moments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert facts(directory) == facts(whole.directory)


def test_other_texts_are_not_gone_on_with(config, files, tmp_path):
    data = tmp_path / "dialogues.jsonl"
    data.write_bytes(files[1].read_bytes())
    directory = stopped(dataclasses.replace(config, data=str(data)), tmp_path / "run", 3)
    data.write_text(data.read_text().replace("good", "dull", 1))
    with pytest.raises(ValueError, match="data"):
        resume(directory)


def test_the_journal_makes_the_model_again(config, whole, tmp_path):
    found = verify(whole.directory)
    assert found.same
    assert found.steps == 12
    again = export_step(whole.directory / "run.journal", tmp_path / "model", step=12)
    assert again.steps == 12
    told = json.loads((tmp_path / "model" / "text.json").read_text())
    assert told == {"template": "plain", "loss_on": "completion", "max_length": 60}


def test_the_configuration_is_read_back(config):
    assert config_from_json(json.loads(json.dumps(config.as_json()))) == config
    with pytest.raises(ValueError, match="objective is 'poems': give one of classification, text"):
        config_from_json(config.as_json() | {"objective": "poems"})


def test_a_configuration_file_says_the_objective(config, whole, tmp_path, capsys):
    said = whole.directory / "config.json"
    assert main(["train", "--config", str(said), "--output", str(tmp_path / "run")]) == 0
    read = lambda directory: journal.read(directory / "run.journal").losses.tobytes()
    assert read(tmp_path / "run") == read(whole.directory)


@pytest.mark.slow
def test_on_a_mesh_the_losses_are_the_same(config, whole):
    """In a process that has eight devices; up to rounding."""
    code = (
        "import sys, dataclasses, json\n"
        "from pathlib import Path\n"
        "from loren_jax.train.config import config_from_json\n"
        "from loren_jax.train import train\n"
        "config = config_from_json(json.loads(sys.argv[1]))\n"
        "train(config, {'population': 2, 'data': 2, 'model': 2})\n"
    )
    place = whole.directory.parent / "mesh"
    values = dataclasses.replace(config, output=place).as_json()
    result = subprocess.run(
        [sys.executable, "-c", code, json.dumps(values)],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "8"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    one, several = (journal.read(d / "run.journal").losses for d in (whole.directory, place))
    np.testing.assert_allclose(one, several, rtol=2e-5)


def test_adapters_are_written_beside_the_merged_model(config, tmp_path):
    run = train(
        dataclasses.replace(
            config, output=tmp_path / "run", lora_rank=2, lora_targets=("q_proj",), keep="last"
        )
    )
    assert verify(run.directory).same
    with safe_open(run.directory / "adapter" / "adapter_model.safetensors", "np") as adapter:
        assert any("q_proj.lora_A" in name for name in adapter.keys())  # noqa: SIM118


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mezo_svrg", "zo_muon"])
def test_other_methods_train_too(config, tmp_path, method):
    """Of these one looks at all texts at once, in one shape."""
    options = OPTIONS[method](learning_rate=0.001)
    run = train(dataclasses.replace(config, optimizer=options, output=tmp_path / "run", steps=4))
    assert np.isfinite(run.summary.test["loss"])


def test_a_forecast_knows_the_largest_shape(config, tmp_path):
    found = forecast(dataclasses.replace(config, output=tmp_path / "run"))
    assert found.steps == 12
    assert found.seconds > 0
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_sweep_takes_the_lowest_loss(config, tmp_path):
    found = sweep(
        dataclasses.replace(config, output=tmp_path / "sweep", keep="last"),
        {"learning_rate": (1e-6, 0.02)},
    )
    assert found.best.options == {"learning_rate": 0.02}


def test_a_command_line_sweeps_over_options_of_texts(files, tmp_path):
    from loren_jax.cli import _parse

    words = text_arguments(*files, tmp_path / "sweep", "--vary", "loss-on=completion,all")[1:]
    found = _parse(["sweep", *words])
    assert [trial.config.loss_on for trial in found.trials] == ["completion", "all"]
    assert {type(trial.config) for trial in found.trials} == {TrainTextConfig}


@pytest.mark.slow
def test_several_seeds_have_a_mean_loss(config, tmp_path):
    short = dataclasses.replace(config, output=tmp_path / "seeds", seeds=(0, 1), steps=4)
    found = train_seeds(short)
    assert found.statistics["test loss"]["std"] is not None
    last = dataclasses.replace(short, output=tmp_path / "last", keep="last", steps=1)
    held_out = train_seeds(last)
    assert held_out.statistics["held-out loss"]["mean"] > 0
    assert "majority class" not in held_out.statistics


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--objective", "poems"], "--objective is 'poems': give one of classification, text"),
        (["--label-column", "x"], "--label-column"),
        (["--input-directions", "4"], "--input-directions"),
        (["--loss-on", "some"], "--loss-on"),
        (["--optimizer", "input_subspace"], "input_subspace has no directions"),
    ],
)
def test_options_of_other_objectives_are_refused(files, tmp_path, capsys, more, message):
    try:
        code = main(text_arguments(*files, tmp_path / "run", *more))
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_errors_are_one_line(files, tmp_path, capsys):
    data = tmp_path / "bad.jsonl"
    data.write_text('{"label": 1}\n')
    assert main(text_arguments(files[0], data, tmp_path / "run")) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("loren-jax: error: ")
    assert "bad.jsonl: none of messages, conversations, prompt and completion" in told
    assert len(told.splitlines()) == 1


def printed(capsys):
    """By name the numbers that `evaluate` prints."""
    pairs = (line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    return {name.strip(): float(value) for name, value in pairs}


def test_evaluate_scores_what_was_held_out(config, whole, files, capsys):
    """Of a run that selected, the texts that it scored once at its end."""
    arguments = ["evaluate", "--model", str(whole.directory), "--data", str(files[1])]
    assert main([*arguments, "--held-out"]) == 0
    found = printed(capsys)
    assert found["mean loss"] == pytest.approx(whole.summary.test["loss"], abs=1e-3)
    assert found["examples"] == whole.summary.test["examples"]
    assert main(arguments) == 0
    assert printed(capsys)["examples"] == 60
    assert main([*arguments, "--held-out", "--seed", "3"]) == 2
    assert "--seed is 3, but the run of" in capsys.readouterr().err
    assert main(["evaluate", "--model", str(whole.directory)]) == 2
    assert "data is the task sst2" in capsys.readouterr().err


def test_a_model_alone_does_not_say_what_was_held_out(whole, files, tmp_path, capsys):
    export_step(whole.directory, tmp_path / "model")
    arguments = ["evaluate", "--model", str(tmp_path / "model"), "--data", str(files[1])]
    assert main([*arguments, "--held-out"]) == 2
    assert "is no run, which would say what it held out" in capsys.readouterr().err


@pytest.mark.slow
def test_answers_are_told_and_a_resumed_run_has_the_same(config, tmp_path, capsys):
    asking = dataclasses.replace(config, generate=3, max_new_tokens=4, steps=6)
    expected = train(dataclasses.replace(asking, output=tmp_path / "whole")).directory
    directory = stopped(asking, tmp_path / "run", 3)
    resume(directory)
    assert facts(directory) == facts(expected)
    summary = json.loads((directory / "summary.json").read_text())
    assert summary["answers"].keys() == {"before", "after"}
    more = ["--generate", "2", "--max-new-tokens", "4"]
    assert main(text_arguments(config.model, config.data, tmp_path / "told", *more)) == 0
    told = capsys.readouterr().out
    assert "held-out exact_match" in told
    lines = told[told.index("answers to held-out prompts") :].splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["wanted", "before", "after"]
    assert "answers" not in json.loads((directory / "metrics.jsonl").read_text().split("\n")[0])


def test_a_trained_model_is_asked_in_the_template_of_its_training(whole, capsys):
    from loren_jax.models import generate
    from loren_jax.train.chats import Talker

    talker = Talker(str(whole.directory))
    asked = talker.tokens("1-2", "prompt")
    assert talker.text(asked) == "User: 1-2\nAssistant:"
    assert talker.tokens([{"role": "user", "content": "1-2"}], "prompt") == asked
    assert talker.text(Talker(str(whole.directory), raw=True).tokens("1-2", "prompt")) == "1-2"
    said = generate(talker.model, asked, max_new_tokens=4, stop_tokens=talker.stop_tokens)
    words = ["generate", str(whole.directory), "--prompt", "1-2", "--max-new-tokens", "4"]
    assert main(words) == 0
    assert capsys.readouterr().out.rstrip("\n") == talker.text(said)
