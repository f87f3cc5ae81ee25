"""The options of `train`: groups, help, files of options, what it would take."""

import dataclasses
import json
import re

import pytest
import tyro
from tiny_task import train_arguments

from loren_jax.cli import _parse, main
from loren_jax.reports import read_metrics
from loren_jax.train import OPTIONS, InputSubspaceOptions, TrainConfig, command_line
from loren_jax.train.command_line import GROUPS, train_command
from loren_jax.train.config import CONFIGS


@pytest.fixture(scope="module")
def command(place):
    return train_arguments(place / "encoder", place / "reviews.tsv", place / "run")


def test_every_option_is_in_one_group():
    names = " ".join(" ".join(both) for both in GROUPS.values()).split()
    assert sorted(names) == sorted(
        {f.name for f in dataclasses.fields(TrainConfig)} - {"optimizer"}
    )


def helped(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["train", *arguments])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_the_help_is_short_and_all_of_it_can_be_had(capsys):
    short, whole = helped(capsys, "--help"), helped(capsys, "--help-all")
    for option in ("--data", "--learning-rate", "--resume", "--dry-run", "--epochs"):
        assert option in short
    for option in ("--fsync-every", "--mesh", "--pooling"):
        assert option not in short
        assert option in whole
    assert "default: None" not in short
    assert "pyrefly" not in whole


def test_what_it_would_take_is_told_and_nothing_is_written(command, capsys, tmp_path):
    out = tmp_path / "run"
    assert main([*command, "--output", str(out), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "24 forward passes in 6 steps" in told
    assert "2 evaluations of" in told
    assert "MiB of parameters and" in told
    assert not out.exists()


@pytest.mark.slow
def test_a_run_says_what_it_will_take_and_its_configuration_can_be_given_back(
    command, capsys, tmp_path
):
    assert main([*command, "--output", str(tmp_path / "run")]) == 0
    assert "24 forward passes in 6 steps" in capsys.readouterr().err
    file = tmp_path / "run" / "config.json"
    again = ["train", "--config", str(file), "--output", str(tmp_path / "again")]
    assert main(again) == 0
    first, second = (
        json.loads((tmp_path / name / "summary.json").read_text()) for name in ("run", "again")
    )
    assert first["loss_after"] == second["loss_after"]


def configured(*arguments):
    kind = train_command(["train", *arguments])
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    return tyro.cli(kind, args=arguments, config=config).configuration


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"optimizer": "mezo", "learning-rate": 0.5, "trainable": ["head"]}'),
        ("a.toml", 'optimizer = "mezo"\nlearning_rate = 0.5\ntrainable = ["head"]\n'),
        ("b.json", '{"optimizer": {"name": "mezo", "learning_rate": 0.5}, "trainable": ["head"]}'),
    ],
)
def test_a_file_says_what_the_command_line_does_not(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    file = str(tmp_path / name)
    config = configured("--config", file, "--steps", "7")
    assert (config.method, config.optimizer.learning_rate) == ("mezo", 0.5)
    assert (config.trainable, config.steps) == (("head",), 7)
    assert configured("--config", file, "--learning-rate", "2").optimizer.learning_rate == 2.0
    other = configured("--config", file, "--optimizer", "loren", "--learning-rate", "3")
    assert (other.method, other.trainable) == ("loren", ("head",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"learnig_rate": 1}', "config: there is no option 'learnig_rate': did you mean"),
        ("{", r"config: .*a\.json is not valid"),
        ("[]", "must hold options by name"),
        (None, "config: there is no file"),
    ],
)
def test_a_file_that_says_nothing_is_named(tmp_path, capsys, content, message):
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    assert main(["train", "--config", str(tmp_path / "a.json")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert re.search(message, told), told


def test_patience_and_the_best_need_no_protocol():
    config = configured("--data", "a.csv", "--learning-rate", "1", "--patience", "3")
    assert config.rules is not None
    assert config.rules.name == "clean"
    assert configured("--data", "a.csv", "--learning-rate", "1", "--keep", "best").rules is not None
    assert configured("--data", "a.csv", "--learning-rate", "1").rules is None


@pytest.mark.parametrize("name", OPTIONS)
def test_every_optimizer_has_its_own_options(name, capsys):
    """Each option of the factory, and only those, with its words."""
    with pytest.raises(SystemExit) as end:
        main(["train", "--optimizer", name, "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    own = {field.name for field in dataclasses.fields(OPTIONS[name])}
    every = {f.name for options in OPTIONS.values() for f in dataclasses.fields(options)}
    shown = {option for option in every if f"--{option.replace('_', '-')} " in out}
    assert shown == own


@pytest.mark.parametrize("chosen", ["", "--optimizer loren", "--optimizer input_subspace"])
def test_input_directions_choose_their_method(chosen):
    options = f"train {chosen} --learning-rate 0.1 --momentum None --rank 1 --input-directions 10"
    run = _parse(options.split()).configuration
    assert run.optimizer == InputSubspaceOptions(learning_rate=0.1, momentum=None, rank=1)
    assert run.input_directions == 10


@pytest.mark.parametrize(
    ("option", "word", "message"),
    [
        ("--steps", "ten", "Error parsing --steps: invalid literal for int"),
        ("--learning-rate", "fast", "Error parsing --learning-rate"),
        ("--schedule", "exponential", "--schedule"),
    ],
)
def test_a_word_where_a_number_is_meant_is_told_with_its_option(capsys, option, word, message):
    with pytest.raises(SystemExit) as end:
        main(["train", "--learning-rate", "1", option, word])
    assert end.value.code != 0
    told = " ".join(line.strip("│ ") for line in capsys.readouterr().err.splitlines())
    assert message in told, told


@pytest.mark.parametrize(
    ("other", "ours"), [("--lr 1", "learning-rate"), ("--max-steps=3", "steps")]
)
def test_what_other_trainers_call_an_option_is_known(capsys, other, ours):
    assert main(["train", *other.split()]) == 2
    assert capsys.readouterr().err.endswith(f" is called --{ours} here: give that.\n")


def test_without_a_rate_the_head_is_trained_by_the_recipe(place, tmp_path, capsys):
    """The whole command line that a newcomer types, but for the model that is on the Hub."""
    command = ["train", "--data", str(place / "reviews.tsv"), "--model", str(place / "encoder")]
    command += ["--output", str(tmp_path / "run"), "--steps", "3", "--pooling", "mean"]
    assert main(command) == 0
    told = capsys.readouterr().err
    assert "nor --trainable is given, so this is the recipe: --trainable head" in told
    assert "no learning rate: the steps together move each parameter by about 0." in told
    assert "60 labelled texts (negative 30, positive 30); 48 to train on, 12 held out" in told
    config = read_metrics(tmp_path / "run")[0]["config"]
    assert (config["trainable"], config["schedule"], config["steps"]) == (["head"], "automatic", 3)
    assert config["optimizer"]["num_directions"] == 64
    assert config["optimizer"]["learning_rate"] is None
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["trained_parameters"] == 18


@pytest.mark.parametrize(
    "more", [("--optimizer", "mezo"), ("--input-directions", "3"), ("--published",)]
)
def test_without_a_rate_other_methods_train_the_head_too(place, more):
    """A new head does not tell how far the rest may move."""
    data = ["--data", str(place / "reviews.tsv"), "--model", str(place / "encoder")]
    command = _parse(["train", *data, *more])
    assert command.configuration.trainable == ("head",)
    assert "so the head alone is trained (--trainable head)" in command.guidance
    for own in (("--trainable", "*"), ("--learning-rate", "1"), ("--lora-rank", "2")):
        if "--lora-rank" in own and "--input-directions" in more:
            continue
        command = _parse(["train", *data, *more, *own])
        assert command.configuration.trainable == (("*",) if own[0] == "--trainable" else None)
        assert not command.guidance


def test_the_file_of_a_run_is_no_recipe(place, tmp_path):
    command = ["train", "--data", str(place / "reviews.tsv"), "--model", str(place / "encoder")]
    assert main([*command, "--output", str(tmp_path / "run"), "--steps", "2"]) == 0
    again = _parse(["train", "--config", str(tmp_path / "run" / "config.json")])
    assert again.configuration.trainable == ("head",)
    assert not again.guidance


def test_the_recipe_has_a_rate_for_a_schedule_that_needs_one(place, tmp_path):
    command = ["train", "--data", str(place / "reviews.tsv"), "--model", str(place / "encoder")]
    command += ["--output", str(tmp_path / "run"), "--steps", "3", "--pooling", "mean"]
    assert main([*command, "--schedule", "linear"]) == 0
    config = read_metrics(tmp_path / "run")[0]["config"]
    assert (config["trainable"], config["schedule"]) == (["head"], "linear")
    assert config["optimizer"]["learning_rate"] == 0.4


def test_without_a_rate_any_method_finds_its_steps_and_a_file_of_it_takes_one(place, tmp_path):
    """A rate that is typed beside the file of a run that found its own is what counts."""
    fixed = ["--output", str(tmp_path / "run"), "--epochs", "0.5", "--trainable", "*"]
    command = ["train", "--data", str(place / "reviews.tsv"), "--model", str(place / "encoder")]
    command += [*fixed, "--pooling", "mean", "--optimizer", "tezo", "--rank", "1"]
    assert main(command) == 0
    config = read_metrics(tmp_path / "run")[0]["config"]
    assert (config["schedule"], config["optimizer"]["learning_rate"]) == ("automatic", None)
    assert (config["steps"], config["epochs"]) == (2, None)  # 48 examples, 16 a step
    file = str(tmp_path / "run" / "config.json")
    again = ["--learning-rate", "0.1", "--output", str(tmp_path / "again")]
    assert main(["train", "--config", file, *again]) == 0
    config = read_metrics(tmp_path / "again")[0]["config"]
    assert (config["schedule"], config["optimizer"]["learning_rate"]) == ("constant", 0.1)


def test_a_rate_that_is_to_be_found_is_left_away(capsys):
    assert main(["train", "--data", "x.csv", "--learning-rate", "auto"]) == 2
    assert capsys.readouterr().err.endswith(
        "--learning-rate is auto: leave it away, and the run finds its own.\n"
    )


def test_where_no_walk_can_be_found_a_first_guess_is_told(place, tmp_path, capsys):
    fixed = ["--output", str(tmp_path / "run"), "--steps", "2", "--trainable", "*"]
    command = ["train", "--data", str(place / "reviews.tsv"), "--model", str(place / "encoder")]
    command += [*fixed, "--pooling", "mean", "--warmup-steps", "1"]
    assert main(command) == 0
    assert "no --learning-rate is given; a first guess is 0.03" in capsys.readouterr().err
    config = read_metrics(tmp_path / "run")[0]["config"]
    assert (config["schedule"], config["optimizer"]["learning_rate"]) == ("constant", 0.03)
    assert main([*command, "--overwrite", "--optimizer", "tezo", "--rank", "1"]) == 2
    told = capsys.readouterr().err
    assert "for tezo with" in told
    assert told.endswith("no first guess was measured: give one\n")


@pytest.mark.parametrize("objective", sorted(CONFIGS))
def test_every_option_has_words(objective):
    kind = CONFIGS[objective]
    said = command_line._words(kind)
    assert [f.name for f in dataclasses.fields(kind) if not said.get(f.name)] == []


@pytest.mark.parametrize("method", OPTIONS)
def test_every_option_of_a_method_has_words(method):
    said = command_line._words(OPTIONS[method])
    assert [f.name for f in dataclasses.fields(OPTIONS[method]) if not said.get(f.name)] == []
