"""One word for the data: files and Hub names."""

import numpy as np
import pytest

from loren_jax.tasks import splits
from loren_jax.tasks.examples import Examples
from loren_jax.tasks.sources import HELD_OUT
from loren_jax.tasks.splits import draw, load_splits


def load_and_draw(data, train_examples=512, held_out_examples=500, seed=0, **source):
    """Training and held-out examples."""
    whole = load_splits(data, **source)
    train, held_out, test = draw(whole, train_examples, held_out_examples, seed)
    assert test is None
    return train, held_out


def rows(count, start=0):
    lines = [f"text {start + number}\t{'yes' if number % 2 else 'no'}" for number in range(count)]
    return "\n".join(["text\tlabel", *lines])


@pytest.fixture
def files(tmp_path):
    (tmp_path / "train.tsv").write_text(rows(20))
    (tmp_path / "dev.tsv").write_text(rows(8, start=100))
    return tmp_path


def test_one_file_is_split(files):
    data = str(files / "train.tsv")
    train, held_out = load_and_draw(data, train_examples=12, held_out_examples=5)
    assert (len(train), len(held_out)) == (12, 5)
    assert not set(train.texts) & set(held_out.texts)
    assert load_and_draw(data, train_examples=12, held_out_examples=5)[0].texts == train.texts
    other = load_and_draw(data, train_examples=12, held_out_examples=5, seed=1)
    assert other[0].texts != train.texts


@pytest.mark.parametrize(("train", "held_out"), [(None, 5), (15, None)])
def test_none_takes_the_rest(files, train, held_out):
    found = load_and_draw(
        str(files / "train.tsv"), train_examples=train, held_out_examples=held_out
    )
    assert tuple(map(len, found)) == (15, 5)


def test_none_for_both_needs_two_sources(files):
    data, held_out_data = str(files / "train.tsv"), str(files / "dev.tsv")
    with pytest.raises(ValueError, match="both None"):
        load_and_draw(data, train_examples=None, held_out_examples=None)
    found = load_and_draw(
        data, train_examples=None, held_out_examples=None, held_out_data=held_out_data
    )
    assert tuple(map(len, found)) == (20, 8)


def test_too_few_rows(files):
    with pytest.raises(ValueError, match=r"18 training and 5 held-out .* only 20"):
        load_and_draw(str(files / "train.tsv"), train_examples=18, held_out_examples=5)


def test_held_out_file_uses_the_training_labels(files):
    (files / "odd.tsv").write_text("text\tlabel\na\tmaybe\n")
    with pytest.raises(ValueError, match=r"odd\.tsv, line 2: unknown label 'maybe'.*no, yes"):
        load_and_draw(
            str(files / "train.tsv"), train_examples=4, held_out_data=str(files / "odd.tsv")
        )


def test_column_options(files):
    (files / "plain.tsv").write_text("1\tgood\n0\tbad\n1\tgreat\n")
    train, held_out = load_and_draw(
        str(files / "plain.tsv"),
        train_examples=2,
        held_out_examples=1,
        columns=("score", "body"),
        text_columns=("body",),
        label_column="score",
    )
    assert set(train.texts + held_out.texts) == {("good",), ("bad",), ("great",)}


def test_hub_names_have_their_own_validation_split(monkeypatch, files):
    asked = []

    def load_examples(source, **options):
        asked.append((source, options["split"], options.get("label_names")))
        return Examples((("a",), ("b",)), np.array([0, 1], np.int32), ("no", "yes"))

    monkeypatch.setattr(splits, "load_examples", load_examples)
    train, held_out = load_and_draw("acme/films:short", train_examples=1, held_out_examples=2)
    assert (len(train), len(held_out)) == (1, 2)
    assert asked == [
        ("acme/films:short", None, None),
        ("acme/films:short", HELD_OUT, ("no", "yes")),
    ]


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        load_and_draw(str(tmp_path / "absent.jsonl"))


def test_a_split_that_is_smaller_than_the_default_number_is_taken_whole(tmp_path):
    """Which nobody asked for; a number that was asked for is not made another."""
    rows = lambda n: "text\tlabel\n" + "".join(f"t{i}\t{i % 2}\n" for i in range(n))
    for name, number in (("train", 30), ("test", 600)):
        (tmp_path / f"{name}.tsv").write_text(rows(number))
    train, held_out = load_and_draw(str(tmp_path), train_examples=512, held_out_examples=500)
    assert (len(train), len(held_out)) == (30, 500)
    with pytest.raises(ValueError, match="there are only 30"):
        load_and_draw(str(tmp_path), train_examples=31, held_out_examples=500)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"held_out_examples": 5}, (15, 5)),
        ({"train_examples": 12}, (12, 8)),
        ({}, (16, 4)),
    ],
)
def test_a_number_that_nobody_chose_gives_way_to_one_that_was(files, asked, expected):
    train, held_out = load_and_draw(str(files / "train.tsv"), **asked)
    assert (len(train), len(held_out)) == expected
