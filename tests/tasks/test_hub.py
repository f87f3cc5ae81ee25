"""The Hub, replaced by a data set in memory, and its absence."""

import sys

import datasets
import pytest

from loren_jax.tasks.examples import load_examples
from loren_jax.tasks.hub import parse_name, read_hub

FEATURES = datasets.Features(
    {
        "sentence": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["negative", "positive"]),
    }
)


def fake_split(labels):
    sentences = [f"text {number}" for number in range(len(labels))]
    return datasets.Dataset.from_dict({"sentence": sentences, "label": labels}, features=FEATURES)


@pytest.fixture
def hub(monkeypatch):
    """Serve `acme/films:short` with three splits."""
    splits = {
        "train": fake_split([1, 0, 1]),
        "validation": fake_split([0, 1]),
        "test": fake_split([-1, -1]),
        "none": fake_split([]),
    }

    def load_dataset(name, configuration, split):
        assert (name, configuration) == ("acme/films", "short")
        if split not in splits:
            raise ValueError(f'Unknown split "{split}". Should be one of {list(splits)}.')
        return splits[split]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def test_declared_names_keep_their_order(hub):
    examples = load_examples("acme/films:short")
    assert examples.label_names == ("negative", "positive")
    assert examples.labels.tolist() == [1, 0, 1]
    assert examples.texts[0] == ("text 0",)


def test_held_out_labels_are_encoded_by_name(hub):
    names = ("positive", "negative")
    held_out = load_examples("acme/films:short", split="validation", label_names=names)
    assert held_out.labels.tolist() == [1, 0]


def test_unknown_split_lists_the_known_ones(hub):
    with pytest.raises(ValueError, match=r"'acme/films:short', split 'dev'.*'validation'"):
        load_examples("acme/films:short", split="dev")


def test_hidden_labels(hub):
    with pytest.raises(ValueError, match=r"films:short \(test\), row 0: the label is hidden"):
        load_examples("acme/films:short", split="test")


def test_empty_split(hub):
    with pytest.raises(ValueError, match="is empty"):
        read_hub("acme/films:short", "none", "label")


def test_columns_are_for_files(hub):
    with pytest.raises(ValueError, match="columns is for files"):
        load_examples("acme/films:short", columns=("a", "b"))


def test_offline_is_one_line_that_names_the_way_out():
    with pytest.raises(ConnectionError, match=r"'nyu-mll/glue' could not be fetched.*local[^\n]*$"):
        load_examples("nyu-mll/glue:sst2")


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (
            datasets.exceptions.DatasetNotFoundError("It is gated.\nLog in."),
            ConnectionError,
            r"could not be fetched from the Hub \(It is gated\.\); check the name",
        ),
        (ValueError("Cannot have .. in it"), ValueError, "'acme/films:short', .*Cannot have"),
    ],
)
def test_refusals_of_the_hub_are_one_line(monkeypatch, error, expected, message):
    def load_dataset(name, configuration, split):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(expected, match=message):
        load_examples("acme/films:short")


def test_without_the_datasets_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"loren-jax\[train\]"):
        read_hub("acme/films:short", "train", "label")


@pytest.mark.parametrize("name", ["a/b/c", "a:b:c", "two words", ""])
def test_names_that_are_none(name):
    with pytest.raises(ValueError, match="neither a file"):
        parse_name(name)
