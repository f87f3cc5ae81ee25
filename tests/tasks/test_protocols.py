"""Protocols: disjoint rows, the right ones, and names that hide nothing."""

import numpy as np
import pytest

from loren_jax.tasks.examples import Examples
from loren_jax.tasks.glue import COLA
from loren_jax.tasks.protocols import CLEAN, PAPER, PROTOCOLS, divide
from loren_jax.tasks.splits import Splits


def make(name, count):
    texts = tuple((f"{name} {number}",) for number in range(count))
    return Examples(texts, np.arange(count, dtype=np.int32) % 2, ("no", "yes"))


def whole(train=1000, validation=400):
    held_out = None if validation is None else make("validation", validation)
    return Splits(make("train", train), held_out)


def divided(protocol, source, seed=0, train=512, dev=256, test=None):
    return divide(
        protocol, source, train_examples=train, dev_examples=dev, test_examples=test, seed=seed
    )


def sizes(splits):
    return tuple(None if part is None else len(part) for part in splits)


def test_paper_takes_the_first_rows_whatever_the_seed():
    splits = divided(PAPER, whole(), seed=3)
    assert sizes(splits) == (512, 256, None)
    assert splits.train.texts == make("train", 512).texts
    assert splits.validation.texts == make("validation", 256).texts


def test_paper_is_clamped_for_small_tasks():
    assert sizes(divided(PAPER, whole(250, 56))) == (250, 56, None)
    assert sizes(divided(PAPER, whole(250, 56), train=None)) == (250, 56, None)


def test_clean_draws_by_the_seed_and_tests_on_everything():
    one, same, other = (divided(CLEAN, whole(), seed=seed) for seed in (0, 0, 1))
    assert sizes(one) == (512, 256, 400)
    assert not set(one.train.texts) & set(one.validation.texts)
    assert one.train.texts == same.train.texts != other.train.texts
    assert one.test.texts == other.test.texts == make("validation", 400).texts
    assert one.train.texts != make("train", 512).texts


def test_clean_shares_out_what_there_is():
    splits = divided(CLEAN, whole(250, 56))
    assert sizes(splits) == (167, 83, 56)
    assert len(set(splits.train.texts + splits.validation.texts)) == 250
    assert sizes(divided(CLEAN, whole(), train=None)) == (744, 256, 400)


def test_clean_sets_the_test_rows_aside_where_there_is_no_validation_split():
    one = divided(CLEAN, whole(validation=None), test=100)
    other = divided(CLEAN, whole(validation=None), test=100, seed=1)
    assert sizes(one) == (512, 256, 100)
    assert one.test.texts == other.test.texts
    for splits in (one, other):
        assert len({text for part in splits for text in part.texts}) == 868


@pytest.mark.parametrize(
    ("protocol", "source", "message"),
    [
        (PAPER, whole(validation=None), "paper takes the first rows of a validation split"),
        (CLEAN, whole(validation=None), "held_out_examples is None"),
        (CLEAN, whole(2, 5), "2 training examples are too few"),
    ],
)
def test_refusals(protocol, source, message):
    with pytest.raises(ValueError, match=message):
        divided(protocol, source)


def test_metrics():
    assert CLEAN.metrics(COLA) == ("matthews", "accuracy")
    assert CLEAN.metrics(None) == PAPER.metrics(COLA) == ("accuracy",)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_title_names_every_departure(name):
    exact = {"train_examples": 512, "dev_examples": 256, "max_length": 128, "prompted": False}
    assert PROTOCOLS[name].title(**exact) == name
    other = {**exact, "train_examples": None, "dev_examples": 64}
    expected = f"{name} (train_examples all, not 512; dev_examples 64, not 256)"
    assert PROTOCOLS[name].title(**other) == expected
    prompted = PROTOCOLS[name].title(**{**exact, "prompted": True})
    assert prompted == {"paper": "paper (with prompts)", "clean": "clean"}[name]
