"""Sources of every kind: packed and columnar files, folders, rows in memory."""

import bz2
import gzip
import lzma

import datasets
import numpy as np
import pandas
import pytest

from loren_jax.tasks import Rows, load_examples, load_splits
from loren_jax.tasks.sources import is_file, read_source

TEXTS, LABELS = ("a fine film", 'so "dull"\ta film', "N/A"), ("1", "0", "1")
FRAME = pandas.DataFrame({"text": TEXTS, "label": [1, 0, 1]})
CSV = FRAME.to_csv(index=False)


def written(folder, name):
    """The three rows in a file, written as its usual program does."""
    path = folder / name
    write = {
        "a.tsv": lambda: FRAME.to_csv(path, sep="\t", index=False),
        "all.tsv": lambda: FRAME.to_csv(path, sep="\t", index=False, quoting=1),
        "a.parquet": lambda: FRAME.to_parquet(path),
        "hub.parquet": lambda: datasets.Dataset.from_pandas(FRAME).to_parquet(str(path)),
        "a.xlsx": lambda: FRAME.to_excel(path, index=False),
        "a.CSV": lambda: path.write_text(CSV),
        "carets.csv": lambda: FRAME.to_csv(path, sep="^", index=False),
        "bars.csv.gz": lambda: FRAME.to_csv(path, sep="|", index=False),
        "a.jsonl.gz": lambda: FRAME.to_json(path, orient="records", lines=True),
        "a.csv.bz2": lambda: path.write_bytes(bz2.compress(CSV.encode())),
        "a.csv.xz": lambda: path.write_bytes(lzma.compress(CSV.encode())),
        "records.json": lambda: FRAME.to_json(path, orient="records"),
        "columns.json": lambda: FRAME.to_json(path, orient="list"),
    }
    if name == "columns.json":  # pandas has no such layout
        path.write_text(__import__("json").dumps(FRAME.to_dict("list")))
    else:
        write[name]()
    return path


NAMES = (
    *("a.tsv", "all.tsv", "a.parquet", "hub.parquet", "a.xlsx", "a.CSV", "carets.csv"),
    *("bars.csv.gz", "a.jsonl.gz", "a.csv.bz2", "a.csv.xz", "records.json", "columns.json"),
)


@pytest.mark.parametrize("name", NAMES)
def test_all_files_give_the_same_examples(tmp_path, name):
    if name.endswith(".xlsx"):
        pytest.importorskip("openpyxl")
    examples = load_examples(written(tmp_path, name))
    assert examples.texts == tuple((text,) for text in TEXTS)
    assert [examples.label_names[label] for label in examples.labels] == list(LABELS)


@pytest.mark.parametrize(
    "kind", [FRAME, datasets.Dataset.from_pandas(FRAME)], ids=["pandas", "datasets"]
)
def test_rows_in_memory_give_the_same_examples(kind):
    rows = Rows.of(kind)
    assert rows.endswith("of 3 rows")
    assert Rows.is_name(str(rows))
    examples = load_examples(rows)
    assert examples.texts == tuple((text,) for text in TEXTS)
    assert examples.label_names == ("0", "1")


def test_what_has_no_rows_is_told():
    with pytest.raises(TypeError, match="but this is a list: make one of it"):
        Rows.of([])


def test_a_cell_that_is_empty_in_a_frame_is_missing_and_whole_numbers_stay_whole(capsys):
    frame = pandas.DataFrame({"text": ["a", "b", None, "d"], "label": [1.0, np.nan, 2.0, 2.0]})
    examples = load_examples(Rows.of(frame))
    assert examples.label_names == ("1", "2")
    assert len(examples) == 2
    assert "left out" in capsys.readouterr().err


def test_quotes_of_sentences_are_no_quoting_of_a_file(tmp_path):
    """As GLUE writes them: a quoted sentence, one that begins with a quote, one that ends so."""
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"fine"\t1\n"so he said\t0\nshe said"\t1\n')
    assert load_examples(path).texts == (('"fine"',), ('"so he said',), ('she said"',))


FEATURES = datasets.Features(
    {"text": datasets.Value("string"), "labels": datasets.ClassLabel(names=["no", "maybe", "yes"])}
)


def declared(labels):
    texts = [f"text {number}" for number in range(len(labels))]
    return datasets.Dataset.from_dict({"text": texts, "labels": labels}, features=FEATURES)


def test_a_parquet_file_and_a_saved_data_set_know_their_classes(tmp_path):
    parts = datasets.DatasetDict({"train": declared([2, 0, 1]), "test": declared([1, 2])})
    parts["train"].to_parquet(str(tmp_path / "a.parquet"))
    assert load_examples(tmp_path / "a.parquet").label_names == ("no", "maybe", "yes")
    parts.save_to_disk(str(tmp_path / "saved"))
    for source in (str(tmp_path / "saved"), Rows.of(parts)):
        splits = load_splits(source)
        assert splits.train.labels.tolist() == [2, 0, 1]
        assert splits.validation.labels.tolist() == [1, 2]


def test_hidden_labels_of_a_file_are_told(tmp_path):
    declared([2, -1]).to_parquet(str(tmp_path / "a.parquet"))
    with pytest.raises(ValueError, match=r"a\.parquet, row 1: the label is hidden \(-1\)"):
        load_examples(tmp_path / "a.parquet")


def lines(*labels):
    return "text,label\n" + "".join(f"text {n},{label}\n" for n, label in enumerate(labels))


@pytest.mark.parametrize(
    ("files", "train", "held_out"),
    [
        ({"train.csv": lines(0, 1), "test.csv": lines(1)}, 2, 1),
        ({"my_train.csv": lines(0, 1), "my_dev.csv": lines(1, 0, 0)}, 2, 3),
        ({"train.csv": lines(0, 1), "val.csv": lines(1), "test.csv": lines(0, 0)}, 2, 1),
        ({"train/a.csv": lines(0, 1), "train/b.csv": lines(0), "test/a.csv": lines(1)}, 3, 1),
        ({"messages.csv": lines(0, 1, 1), "notes.md": "# none"}, 3, None),
        ({"train-00000-of-00002.csv": lines(0), "train-00001-of-00002.csv": lines(1)}, 2, None),
    ],
)
def test_a_folder_has_the_splits_that_its_files_are_called_by(tmp_path, files, train, held_out):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    splits = load_splits(str(tmp_path))
    assert len(splits.train) == train
    assert held_out == (None if splits.validation is None else len(splits.validation))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"no file is called train.*none that we read"),
        ({"a.csv": lines(0), "b.csv": lines(1)}, r"no file is called train.*a\.csv, b\.csv"),
        (
            {"train1.csv": lines(0), "train2.csv": "text,mood\na,1\n"},
            r"train2\.csv: its columns are text, mood, but .*train1\.csv has text, label",
        ),
        ({"train.csv": "text,label\na,b,c\n"}, r"train\.csv, line 2: 3 fields"),
    ],
)
def test_what_a_folder_lacks_is_told(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_splits(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv.gz", b"text,label\na,1\n", "is damaged: .*pack it again"),
        ("a.csv.gz", gzip.compress(b"text,label\n" * 999, mtime=0)[:-9], "is damaged"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "a"}\n{\n', mtime=0), "line 2: not valid JSON"),
        ("a.parquet", b"PAR1 no more", "not a valid parquet file"),
        ("a.xlsx", b"no archive", "not a valid Excel file"),
        ("a.zip", b"", "cannot tell the format"),
        ("a.gz", b"", "cannot tell the format"),
    ],
)
def test_damaged_files(tmp_path, name, content, message):
    if name.endswith(".xlsx"):
        pytest.importorskip("openpyxl")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_source(tmp_path / name, "train")
    assert str(tmp_path / name) in str(caught.value)


def test_excel_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    (tmp_path / "a.xlsx").write_bytes(b"")
    with pytest.raises(ImportError, match=r"pip install openpyxl, or save it as \.csv"):
        read_source(tmp_path / "a.xlsx", "train")


def test_a_data_set_without_validation_is_evaluated_on_its_test_split(monkeypatch):
    parts = {"train": declared([2, 0, 1]), "test": declared([1, 2])}

    def load_dataset(name, configuration, split):
        if split not in parts:
            raise ValueError(f'Unknown split "{split}". Should be one of {list(parts)}.')
        return parts[split]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    splits = load_splits("imdb")
    assert splits.validation.labels.tolist() == [1, 2]


def test_what_is_a_file(tmp_path):
    assert is_file("missing.parquet")
    assert is_file(tmp_path)
    assert not is_file("nyu-mll/glue:sst2")
