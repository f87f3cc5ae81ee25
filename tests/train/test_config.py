"""Configurations refuse what cannot work, and say where a run goes."""

import json
from pathlib import Path

import pytest

from loren_jax.train import EvaluateConfig, LorenOptions, MezoOptions, TrainConfig

OPTIONS = LorenOptions(learning_rate=0.1)


def test_default_directory_names_the_run():
    assert TrainConfig(optimizer=OPTIONS).directory == Path("runs/loren-minilm-reviews-seed0")
    config = TrainConfig(
        optimizer=MezoOptions(learning_rate=0.1), model="org/name", data="d/a b.tsv", seed=3
    )
    assert config.directory == Path("runs/mezo-name-a_b-seed3")
    hub = TrainConfig(optimizer=OPTIONS, data="nyu-mll/glue:sst2")
    assert hub.directory == Path("runs/loren-minilm-glue_sst2-seed0")
    assert TrainConfig(optimizer=OPTIONS, output=Path("x")).directory == Path("x")


def test_json_holds_everything():
    values = json.loads(json.dumps(TrainConfig(optimizer=OPTIONS).as_json()))
    assert values["optimizer"]["name"] == "loren"
    assert values["optimizer"]["damping"] == 0.1
    assert values["trainable"] == ["*"]
    assert values["output"] == "runs/loren-minilm-reviews-seed0"


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
    ],
)
def test_training_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(optimizer=OPTIONS, **wrong)


def test_evaluation_refuses_a_split_of_what_is_held_out():
    with pytest.raises(ValueError, match="give one of the two"):
        EvaluateConfig(model="m", held_out=True, split="test")
