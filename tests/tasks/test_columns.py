"""Columns and labels: what is chosen, and what is refused."""

import numpy as np
import pytest

from loren_jax.tasks.columns import choose_text_columns, encode, read_labels, read_texts
from loren_jax.tasks.tables import Table


def table(*rows):
    return Table("a.jsonl", "line", tuple(rows[0]), dict(enumerate(rows, start=1)))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("sentence", "label"), ("sentence",)),
        (("text", "label"), ("text",)),
        (("text", "sentence"), ("sentence",)),
        (("index", "question", "sentence", "label"), ("question", "sentence")),
        (("hypothesis", "premise"), ("premise", "hypothesis")),
        (("text_a", "text_b", "label"), ("text_a", "text_b")),
    ],
)
def test_usual_columns(columns, expected):
    assert choose_text_columns(table(dict.fromkeys(columns, "x")), None) == expected


def test_no_usual_column_lists_the_columns():
    with pytest.raises(ValueError, match=r"one, two, label; name the text's with --text-columns"):
        choose_text_columns(table({"one": "a b", "two": "c d", "label": "0"}), None)


@pytest.mark.parametrize("chosen", ["text", ()])
def test_wrong_number_of_text_columns(chosen):
    with pytest.raises(ValueError, match="one or two names"):
        choose_text_columns(table({"text": "x"}), chosen)


def test_missing_columns():
    data = table({"text": "x", "kind": "0"})
    with pytest.raises(ValueError, match="no column 'body'; the columns are text, kind"):
        choose_text_columns(data, ("body",))
    with pytest.raises(ValueError, match="no column 'label'; the columns are text, kind"):
        read_labels(data, "label")


def test_row_without_value_names_the_line():
    with pytest.raises(ValueError, match="line 2: no value for column 'text'"):
        read_texts(table({"text": "x"}, {"body": "y"}), ("text",))


def test_text_must_be_text():
    with pytest.raises(ValueError, match="line 1: column 'text' holds None"):
        read_texts(table({"text": None}), ("text",))


def test_labels_become_names():
    data = table(*({"label": value} for value in ("yes", 3, -1, True, False)))
    assert read_labels(data, "label") == ("yes", "3", "-1", "true", "false")


@pytest.mark.parametrize("label", [None, 0.5, ["a"]])
def test_label_of_another_kind(label):
    with pytest.raises(ValueError, match="neither a string nor an integer"):
        read_labels(table({"label": label}), "label")


def test_encode():
    data = table({"label": "b"}, {"label": "a"})
    labels = encode(data, ("b", "a"), ("a", "b"))
    assert labels.dtype == np.int32
    assert labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2: unknown label 'a'.*are b, c"):
        encode(data, ("b", "a"), ("b", "c"))
