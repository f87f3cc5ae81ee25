"""Configurations refuse what cannot work, and say where a run goes."""

import json
from pathlib import Path

import pytest

from loren_jax.train import METHODS, EvaluateConfig, LorenOptions, MezoOptions, TrainConfig

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
    assert values["trainable"] is None
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
        ({"max_length": 0}, "max_length must be at least 1"),
        ({"patience": 2}, "patience needs a split that may select.*--protocol clean"),
        ({"patience": 0, "protocol": "clean"}, "patience must be at least 1"),
        ({"warmup_steps": 100}, "warmup_steps is 100, but there are only 100 steps"),
        ({"seeds": ()}, "give one or more"),
        ({"seeds": (1, 1)}, "each only once"),
        ({"seeds": (1, 2), "seed": 3}, "give one of the two"),
        ({"words": ("a", "b")}, "words is part of a prompt: give --prompt"),
        ({"prompt": True}, "reviews is no task with a prompt of its own"),
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
    assert rules() is None
    assert rules(data="sst2").name == rules(protocol="clean").name == "clean"
    assert rules(data="sst2", protocol="paper").name == "paper"
    assert TrainConfig(optimizer=OPTIONS, data="sst2").as_json()["protocol"] == "clean"


def test_the_prompt_that_counts():
    prompt = lambda **options: TrainConfig(optimizer=OPTIONS, **options).prompting
    assert prompt(data="sst2") is None
    assert prompt(data="sst2", prompt=True).words == ("terrible", "great")
    own = prompt(data="sst2", prompt=True, words=("bad", "good"))
    assert (own.words, own.fields) == (("bad", "good"), ("sentence",))
    file = prompt(data="a.tsv", prompt=True, template="{t} {answer}", words=("no", "yes"))
    assert file.fields == ("t",)


def test_several_seeds_have_a_directory_of_their_own():
    config = TrainConfig(optimizer=OPTIONS, data="sst2", seeds=(0, 1))
    assert config.directory == Path("runs/loren-minilm-sst2-seeds")


def test_evaluation_of_a_task_takes_its_validation_split():
    with pytest.raises(ValueError, match="evaluated on its validation split"):
        EvaluateConfig(model="m", data="sst2", split="test")


def test_evaluation_refuses_a_split_of_what_is_held_out():
    with pytest.raises(ValueError, match="give one of the two"):
        EvaluateConfig(model="m", held_out=True, split="test")


def test_input_directions_are_lorens():
    with pytest.raises(ValueError, match="mezo has none"):
        TrainConfig(optimizer=METHODS["mezo"].options(learning_rate=0.1), input_directions=2)
    frozen = METHODS["loren"].options(learning_rate=0.1, covariance="frozen")
    with pytest.raises(ValueError, match="give one"):
        TrainConfig(optimizer=frozen, input_directions=2)
