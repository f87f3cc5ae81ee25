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


@pytest.mark.parametrize(
    ("read", "rows", "asked", "message"),
    [
        (choose_text_columns, [{"text": "x"}], "text", "one or two names"),
        (choose_text_columns, [{"text": "x"}], (), "one or two names"),
        (choose_text_columns, [{"a": "x"}], ("b",), "no column 'b'; the columns are a"),
        (read_labels, [{"a": "x"}], "label", "no column 'label'; the columns are a"),
        (read_texts, [{"a": "x"}, {"b": "y"}], ("a",), "line 2: no value for column 'a'"),
        (read_texts, [{"a": None}], ("a",), "line 1: column 'a' holds None"),
        *(
            (read_labels, [{"a": x}], "a", "neither a string nor an int")
            for x in (None, 0.5, ["b"])
        ),
    ],
)
def test_what_cannot_be_read_is_named(read, rows, asked, message):
    with pytest.raises(ValueError, match=message):
        read(table(*rows), asked)


def test_labels_become_names():
    data = table(*({"label": value} for value in ("yes", 3, -1, True, False)))
    assert read_labels(data, "label") == ("yes", "3", "-1", "true", "false")


def test_encode():
    data = table({"label": "b"}, {"label": "a"})
    labels = encode(data, ("b", "a"), ("a", "b"))
    assert labels.dtype == np.int32
    assert labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2: unknown label 'a'.*are b, c"):
        encode(data, ("b", "a"), ("b", "c"))
