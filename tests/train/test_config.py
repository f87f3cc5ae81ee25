"""Configurations refuse what cannot work, and say where a run goes."""

import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from loren_jax import train
from loren_jax.train import (
    EvaluateConfig,
    InputSubspaceOptions,
    LorenOptions,
    MezoOptions,
    TrainConfig,
)

OPTIONS = LorenOptions(learning_rate=0.1)


@pytest.mark.parametrize(
    ("options", "directory"),
    [
        ({}, "runs/loren-all_MiniLM_L6_v2-sst2-lr0.1-seed0"),
        (
            {"optimizer": MezoOptions(learning_rate=1e-6), "model": "org/name", "seed": 3}
            | {"data": "d/a b.tsv"},
            "runs/mezo-name-a_b.tsv-lr1e_06-seed3",
        ),
        ({"data": "nyu-mll/glue:sst2"}, "runs/loren-all_MiniLM_L6_v2-glue_sst2-lr0.1-seed0"),
        ({"seeds": (0, 1)}, "runs/loren-all_MiniLM_L6_v2-sst2-lr0.1-seeds"),
        ({"output": Path("x")}, "x"),
    ],
)
def test_the_directory_names_the_run(options, directory):
    assert TrainConfig(**{"optimizer": OPTIONS, **options}).directory == Path(directory)


def stored(config):
    """As a file holds it."""
    return json.loads(json.dumps(config.as_json()))


def test_json_holds_everything():
    values = stored(TrainConfig(optimizer=OPTIONS))
    assert (values["optimizer"]["name"], values["optimizer"]["damping"]) == ("loren", 0.1)
    assert (values["trainable"], values["protocol"]) == (None, "clean")
    assert values["output"] == str(Path("runs/loren-all_MiniLM_L6_v2-sst2-lr0.1-seed0").absolute())


def test_local_paths_are_kept_as_they_were_meant(tmp_path, monkeypatch):
    """For who goes on from another folder; a name on the Hub stays one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "data.tsv").touch()
    given = {
        "model": "model",
        "data": "data.tsv",
        "data_dir": Path("none"),
        "output": Path("runs/x"),
    }
    values = stored(TrainConfig(optimizer=OPTIONS, held_out_data="org/data", **given))
    assert [values[name] for name in ("model", "data", "output")] == [
        str(tmp_path / name) for name in ("model", "data.tsv", "runs/x")
    ]
    assert (values["held_out_data"], values["data_dir"]) == ("org/data", "none")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"eval_every": 0}, "eval_every must be at least 1"),
        ({"held_out_examples": 0}, "held_out_examples must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"batch_size": 33, "train_examples": 32}, "only 32 training examples"),
        ({"trainable": ()}, "trainable is empty"),
        ({"max_length": 0}, "max_length must be at least 1"),
        ({"steps": 7, "epochs": 2.0}, "steps is 7 and epochs 2.0: give one of the two"),
        ({"epochs": 0.0}, "epochs must be positive"),
        ({"patience": 0, "protocol": "clean"}, "patience must be at least 1"),
        ({"warmup_steps": 100}, "warmup_steps is 100, but there are only 100 steps"),
        ({"seeds": ()}, "give one or more"),
        ({"seeds": (1, 1)}, "each only once"),
        ({"seeds": (1, 2), "seed": 3}, "give one of the two"),
        ({"words": ("a", "b")}, "words is part of a prompt: give --prompt"),
        (
            {"prompt": True, "data": "reviews.tsv"},
            "reviews.tsv is no task with a prompt of its own",
        ),
        ({"prompt": True, "data": "cb", "words": ("a", "b")}, "cb has 3 classes.* 2 answers"),
        ({"prompt": True, "data": "cb", "pooling": "cls"}, "pooling is for a classifier's head"),
        ({"prompt": True, "data": "cb", "text_columns": ("a",)}, "names its columns itself"),
        ({"prompt": True, "data": "cb", "template": "{a}"}, r"exactly one \{answer\}"),
        ({"input_directions": 0}, "input_directions must be at least 1"),
        ({"input_directions": 2, "lora_rank": 1}, "give input_directions or lora_rank"),
        ({"input_power": 1.0}, "give input_directions too"),
        ({"input_directions": 2, "input_power": -1.0}, "input_power must"),
    ],
)
def test_training_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(optimizer=OPTIONS, **wrong)


def test_a_task_has_the_clean_protocol_unless_told_otherwise():
    rules = lambda **options: TrainConfig(optimizer=OPTIONS, **options).rules
    assert rules(data="reviews.tsv") is None
    assert rules().name == rules(data="reviews.tsv", protocol="clean").name == "clean"
    assert rules(protocol="paper").name == "paper"


def test_the_prompt_that_counts():
    prompt = lambda **options: TrainConfig(optimizer=OPTIONS, **options).prompting
    assert prompt(data="sst2") is None
    assert prompt(data="sst2", prompt=True).words == ("terrible", "great")
    own = prompt(data="sst2", prompt=True, words=("bad", "good"))
    assert (own.words, own.fields) == (("bad", "good"), ("sentence",))
    file = prompt(data="a.tsv", prompt=True, template="{t} {answer}", words=("no", "yes"))
    assert file.fields == ("t",)


def test_evaluation_refuses_two_splits():
    with pytest.raises(ValueError, match="evaluated on its validation split"):
        EvaluateConfig(model="m", split="test")
    with pytest.raises(ValueError, match="give one of the two"):
        EvaluateConfig(model="m", data="a.tsv", held_out=True, split="test")


def test_input_directions_make_a_run_of_input_subspace():
    """Whether it is named, or takes the place of loren; what is of loren alone is not dropped."""
    knobs = {"learning_rate": 0.1, "momentum": 0.5, "rank": 1, "num_directions": 4}
    expected = InputSubspaceOptions(**knobs)
    for options in (expected, LorenOptions(**knobs)):
        config = TrainConfig(optimizer=options, input_directions=2)
        assert config.optimizer == expected
        assert config.directory.name == "input_subspace-all_MiniLM_L6_v2-sst2-lr0.1-seed0"
        again = dataclasses.replace(config, output=config.directory.absolute(), protocol="clean")
        assert TrainConfig.from_json(stored(config)) == again
    refused = [
        (MezoOptions(learning_rate=0.1), "which mezo has no part in"),
        (LorenOptions(learning_rate=0.1, damping=1.0), "damping is 1.0, of a learned covariance"),
    ]
    for options, message in refused:
        with pytest.raises(ValueError, match=message):
            TrainConfig(optimizer=options, input_directions=2)
    with pytest.raises(ValueError, match="give input_directions too"):
        TrainConfig(optimizer=expected)


def test_configurations_of_version_0_1_0():
    """Their options name what has left LOREN, and had other words for two of a run's."""
    values = stored(TrainConfig(optimizer=OPTIONS))
    del values["checkpoint_every"], values["max_nonfinite_steps"]
    values |= {"keyframe_every": 7, "max_dead_steps": 4}
    found = TrainConfig.from_json(values)
    assert (found.checkpoint_every, found.max_nonfinite_steps) == (7, 4)
    options = values["optimizer"] | {"covariance": "learned", "structure": "block"}
    old = lambda **more: values | {"optimizer": options | more}
    assert TrainConfig.from_json(old()).optimizer == OPTIONS
    frozen = TrainConfig.from_json(old(covariance="frozen")).optimizer
    assert frozen == LorenOptions(learning_rate=0.1, covariance_learning_rate=0.0)
    with pytest.raises(ValueError, match="isotropic can be replayed and exported"):
        TrainConfig.from_json(old(covariance="isotropic"))
    along = {"input_directions": 2, "optimizer": old(damping=0.7, momentum=0.9)["optimizer"]}
    expected = InputSubspaceOptions(learning_rate=0.1, momentum=0.9)
    assert TrainConfig.from_json(old() | along).optimizer == expected
    with pytest.raises(ValueError, match='"tiled", which left loren after version'):
        TrainConfig.from_json(old(structure="tiled"))


# As scripts do it, where nothing but the configuration itself looks at types.
TAKEN = """
import dataclasses
import json
import pickle
from pathlib import Path
from loren_jax.train import CompareConfig, EvaluateConfig, LorenOptions, TrainConfig

options = LorenOptions(learning_rate=0.1)
config = TrainConfig(
    optimizer=options,
    output="runs/x",
    data=Path("d.csv"),
    data_dir="d",
    trainable="classifier/*",
    text_columns=["a", "b"],
    lora_rank=2,
    lora_targets="*/kernel",
    seeds=3,
)
assert (config.output, config.data, config.data_dir) == (Path("runs/x"), "d.csv", Path("d"))
assert (config.trainable, config.text_columns) == (("classifier/*",), ("a", "b"))
assert (config.lora_targets, config.seeds) == (("*/kernel",), (3,))
again = TrainConfig.from_json(json.loads(json.dumps(config.as_json())))
assert again == dataclasses.replace(config, output=Path("runs/x").absolute())
evaluated = EvaluateConfig(model=Path("m"), data_dir="d", text_columns="text")
assert (evaluated.model, evaluated.data_dir) == ("m", Path("d"))
assert evaluated.text_columns == ("text",)
compared = CompareConfig(runs="runs/x", output="x.png")
assert compared == CompareConfig(runs=(Path("runs/x"),), output=Path("x.png"))
"""

FRAME = """
import pandas
from loren_jax.train import LorenOptions, TrainConfig

frame = pandas.DataFrame({"text": ["a", "b"], "label": [0, 1]})
config = TrainConfig(optimizer=LorenOptions(learning_rate=0.1), data=frame)
assert config.data == "DataFrame of 2 rows" == config.as_json()["data"]
assert config.data.splits["train"] is frame
"""

REFUSED = """
from loren_jax.train import EvaluateConfig, LorenOptions, TrainConfig

class DataFrame:
    __hash__ = None  # as that of pandas

for given in (DataFrame(), [{"text": "a"}], 3):
    for made in (
        lambda **more: TrainConfig(optimizer=LorenOptions(learning_rate=0.1), **more),
        lambda **more: EvaluateConfig(**{"model": "m"} | more),
    ):
        for name in ("data", "model"):
            try:
                made(**{name: given})
            except TypeError as error:
                told = str(error)
            assert told.startswith(f"{name} must be text, got a {type(given).__name__}: "), told
            assert "path" in told and "\\n" not in told, told
"""


@pytest.mark.parametrize("script", [TAKEN, FRAME, REFUSED], ids=["taken", "frame", "refused"])
def test_text_is_taken_for_a_path_one_word_for_several_a_frame_for_data_and_no_list(script):
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_the_options_of_every_method_can_be_imported():
    for options in train.OPTIONS.values():
        assert getattr(train, options.__name__) is options
        assert options.__name__ in dir(train)
        assert pickle.loads(pickle.dumps(options(learning_rate=0.1))) == options(learning_rate=0.1)
    with pytest.raises(AttributeError, match="no attribute 'AdamOptions'"):
        train.AdamOptions  # noqa: B018
