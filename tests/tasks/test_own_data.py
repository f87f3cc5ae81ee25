"""Files as people have them: what is missing is left out and said, what is no task is refused."""

import numpy as np
import pytest

from loren_jax.tasks import draw, load_examples, load_splits
from loren_jax.tasks.columns import choose_text_columns
from loren_jax.tasks.sources import read_source

GOOD = "text,label\ngood film,1\nbad film,0\n"


def write(folder, text, name="data.csv"):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("cell", ["", " ", "nan", "NaN", "N/A", "NULL", "na"])
def test_a_row_without_a_label_is_left_out_and_never_a_class(tmp_path, capsys, cell):
    examples = load_examples(write(tmp_path, f"{GOOD}fine film,{cell}\ngreat film,1\n"))
    assert (len(examples), examples.label_names) == (3, ("0", "1"))
    said = capsys.readouterr().err
    assert said.endswith("1 row has nothing in 'label' and is left out, the first line 4\n")


def test_rows_without_a_text_are_left_out_too(tmp_path, capsys):
    assert len(load_examples(write(tmp_path, f"{GOOD},\n ,1\n"))) == 2
    said = capsys.readouterr().err
    assert "1 row has nothing in 'label' and is left out, the first line 4" in said
    assert "1 row has nothing in 'text' and is left out, the first line 5" in said
    lines = (
        '{"text": "good", "label": 1}\n{"text": null, "label": 0}\n{"text": "bad", "label": 0}\n'
    )
    assert len(load_examples(write(tmp_path, lines, "a.jsonl"))) == 2


def test_a_text_may_say_that_it_is_not_available(tmp_path):
    assert len(load_examples(write(tmp_path, f"{GOOD}N/A,1\n"))) == 3


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("message,category", ("message", "category")),
        ("Text, Label", ("Text", "Label")),
        ("id,review,sentiment", ("review", "sentiment")),
        ("what was said,target", ("what was said", "target")),
    ],
)
def test_usual_names_are_found(tmp_path, header, expected):
    columns = [name.strip() for name in header.split(",")]
    cells = {"id": "7", expected[1]: "x"}
    row = lambda label: ",".join(
        label if name == expected[1] else cells.get(name, "some words") for name in columns
    )
    examples = load_examples(write(tmp_path, "\n".join([header, row("a"), row("b"), row("a")])))
    assert examples.texts == (("some words",),) * 3
    assert examples.label_names == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text,label\n" + "a film,1\n" * 4, "all 4 rows have the label '1'.*--label-column names"),
        (
            "text,label\n" + "".join(f"film,{n}\n" for n in range(5)),
            "each of 5 rows has a label",
        ),
        ("words,mark\na film,1\n", "no column 'label'; the columns are words, mark: name one with"),
        (
            "text,target,class\na film,1,2\n",
            "no column 'label'; the columns are text, target",
        ),
        ("text,label\n,\n,\n", "no row has something in each of label, text"),
    ],
)
def test_what_is_no_task_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_examples(write(tmp_path, text))


@pytest.mark.parametrize("header", ["words,mark", "text,opinion"])
def test_of_two_columns_the_one_that_repeats_is_the_label(tmp_path, capsys, header):
    rows = "".join(f"film {n},{'bad' if n % 3 else 'good'}\n" for n in range(20))
    path = write(tmp_path, f"{header}\n{rows}")
    examples = load_examples(path)
    assert examples.texts[1] == ("film 1",)
    assert examples.label_names == ("bad", "good")
    text, label = header.split(",")
    assert f"{label!r} is taken for the label" in capsys.readouterr().err
    # `predict` on the same file, which looks for no label
    assert choose_text_columns(read_source(path, "train"), None) == (text,)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("words,mark", lambda n: f"film {n},{n}"),  # no value repeats
        ("words,mark", lambda n: f"film {n % 2},{n % 2}"),  # each of the two could be it
        ("words,mark,place", lambda n: f"film {n},{n % 2},{n % 3}"),
    ],
)
def test_no_label_is_guessed_where_it_could_be_another(tmp_path, header, row):
    text = "\n".join([header, *(row(n) for n in range(20))])
    with pytest.raises(ValueError, match="no column 'label'"):
        load_examples(write(tmp_path, text))


def test_very_many_classes_are_questioned(tmp_path, capsys):
    rows = "".join(f"a film,{n % 60}\n" for n in range(120))
    assert len(load_examples(write(tmp_path, f"text,label\n{rows}")).label_names) == 60
    assert "60 different labels; is 'label' the label's column?" in capsys.readouterr().err


def test_columns_without_a_name_are_of_no_interest(tmp_path):
    text = "v1,v2,,,\nham,come home now,,,\nspam,win a prize,,,\n"
    examples = load_examples(write(tmp_path, text), text_columns=("v2",), label_column="v1")
    assert examples.label_names == ("ham", "spam")


def test_a_header_that_is_named_again_is_no_row(tmp_path, capsys):
    path = write(tmp_path, GOOD)
    assert load_examples(path, columns=("text", "label")).label_names == ("0", "1")
    assert "its first line names the columns, and is left out" in capsys.readouterr().err
    text = "v1,v2,,,\nham,come home now,,,\nspam,win a prize,,,\n"
    examples = load_examples(
        write(tmp_path, text), columns=("v1", "v2", "a", "b", "c"), text_columns=("v2",),
        label_column="v1",
    )  # fmt: skip
    assert examples.label_names == ("ham", "spam")


def test_a_text_of_any_length(tmp_path):
    long = "word " * 28_000
    examples = load_examples(write(tmp_path, f'{GOOD}"{long}",1\n'))
    assert examples.texts[2] == (long,)


def test_a_document_of_several_splits_is_told_apart(tmp_path):
    text = '{"train": [{"text": "a", "label": 1}], "test": [{"text": "b", "label": 0}]}'
    with pytest.raises(ValueError, match=r"holds 2 lists of rows \(train, test\): write each"):
        load_examples(write(tmp_path, text, "data.json"))


def test_a_small_file_is_divided_class_by_class(tmp_path):
    rows = [f"film {n},{'abc'[n % 3 if n % 7 else 0]}\n" for n in range(300)]
    rows = "".join([*rows, "film x,rare\n"])
    whole = load_splits(str(write(tmp_path, f"text,label\n{rows}")))
    splits = draw(whole, 512, 500, seed=0)
    train, held_out = splits.train.class_counts(), splits.validation.class_counts()
    for name, count in whole.train.class_counts().items():
        assert train[name] + held_out[name] == count
        assert held_out[name] == (count // 5 if count > 1 else 0)
    assert not set(splits.train.texts) & set(splits.validation.texts)
    again, other = draw(whole, 512, 500, seed=0), draw(whole, 512, 500, seed=1)
    assert again.train.texts == splits.train.texts
    assert other.train.texts != splits.train.texts
    assert np.any(np.diff(splits.train.labels) < 0)  # not class after class
    with pytest.raises(ValueError, match="only 301"):
        draw(whole, 400, 100, seed=0)
