"""Reading files, and every complaint with its line; the Hub, replaced, and its absence."""

import sys

import datasets
import pytest

from loren_jax.tasks.examples import load_examples
from loren_jax.tasks.files import read_table
from loren_jax.tasks.hub import parse_name, read_hub


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def values(table):
    return list(table.rows.values())


EXPECTED = [{"sentence": 'a "quote', "label": "0"}, {"sentence": "b\x0cc", "label": "1"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", 'sentence\tlabel\na "quote\t0\nb\x0cc\t1\n'),
        ("crlf.tsv", 'sentence\tlabel\r\na "quote\t0\r\nb\x0cc\t1'),
        ("mark.tsv", b'\xef\xbb\xbfsentence\tlabel\na "quote\t0\n\nb\x0cc\t1\n'),
        ("a.csv", 'sentence,label\n"a ""quote",0\nb\x0cc,1\n'),
        ("a.jsonl", '{"sentence": "a \\"quote", "label": "0"}\n'
                    '{"sentence": "b\\fc", "label": "1"}\n'),
        ("lines.json", '{"sentence": "a \\"quote", "label": "0"}\n\n'
                       '{"sentence": "b\\fc", "label": "1"}'),
        ("list.json", '[{"sentence": "a \\"quote", "label": "0"},'
                      ' {"sentence": "b\\fc", "label": "1"}]'),
        ("semicolons.csv", 'sentence;label\n"a ""quote";0\nb\x0cc;1\n'),
        ("tabs.csv", 'sentence\tlabel\n"a ""quote"\t0\nb\x0cc\t1\n'),
        ("macintosh.tsv", 'sentence\tlabel\ra "quote\t0\rb\x0cc\t1'),
        ("data.json", '{"data": [{"sentence": "a \\"quote", "label": "0"},'
                      ' {"sentence": "b\\fc", "label": "1"}], "version": 1}'),
        ("columns.json", '{"sentence": ["a \\"quote", "b\\fc"], "label": ["0", "1"]}'),
        ("frame.json", '{"sentence": {"0": "a \\"quote", "1": "b\\fc"},'
                       ' "label": {"0": "0", "1": "1"}}'),
        ("split.json", '{"columns": ["sentence", "label"], "index": [0, 1],'
                       ' "data": [["a \\"quote", "0"], ["b\\fc", "1"]]}'),
        ("numbered.json", '{"0": {"sentence": "a \\"quote", "label": "0"},'
                          ' "1": {"sentence": "b\\fc", "label": "1"}}'),
    ],
)  # fmt: skip
def test_all_formats_give_the_same_rows(tmp_path, name, content):
    table = read_table(write(tmp_path, name, content))
    assert values(table) == EXPECTED
    assert table.columns == ("sentence", "label")


def test_one_object_is_one_row(tmp_path):
    table = read_table(write(tmp_path, "a.json", '{"text": "a", "label": 1}'))
    assert values(table) == [{"text": "a", "label": 1}]


def test_columns_of_a_file_without_header(tmp_path):
    path = write(tmp_path, "a.tsv", "gj04\t1\t\tThe ship sank.\n")
    table = read_table(path, ("source", "label", "mark", "sentence"))
    assert values(table)[0]["sentence"] == "The ship sank."
    assert table.place(1) == f"{path}, line 1"


def test_line_numbers_count_quoted_line_breaks(tmp_path):
    table = read_table(write(tmp_path, "a.csv", 'text,label\n"a\nb",0\nc,1\n'))
    assert list(table.rows) == [3, 4]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "", "is empty"),
        ("a.tsv", " \n\n", "is empty"),
        ("a.tsv", "text\tlabel\n", "header but no rows"),
        ("a.tsv", "text\ttext\na\tb\n", "occurs twice"),
        ("a.tsv", "text\tlabel\na\t0\nb\n", "line 3: 1 fields where 2 are expected"),
        ("a.csv", "text,label\na,b,0\n", "line 2: 3 fields where 2"),
        ("a.csv", 'text,label\n"a,0\n', "not valid CSV"),
        ("a.tsv", b"text\tlabel\na\t0\nb\xff\t1\n", "line 3: not UTF-8"),
        ("a.jsonl", '{"text": "a"}\n{"text":\n', "line 2: not valid JSON"),
        ("a.jsonl", "[1]\n", "line 1: expected a JSON object"),
        ("a.json", '[{"text": "a"},\n 3]', "entry 2: expected a JSON object"),
        ("a.json", '[{"text": "a"},\n', "line 2: not valid JSON"),
        ("a.json", "[]", "holds no rows"),
        ("a.txt", "text", "cannot tell the format"),
    ],
)
def test_malformed_files(tmp_path, name, content, message):
    path = write(tmp_path, name, content)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.tsv"):
        read_table(tmp_path / "absent.tsv")


def test_columns_for_json_are_refused(tmp_path):
    with pytest.raises(ValueError, match="columns is for TSV and CSV"):
        read_table(write(tmp_path, "a.json", "[]"), ("text",))


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "dev"}, r"'acme/films:short', split 'dev'.*'validation'"),
        ({"split": "test"}, r"films:short \(test\), row 0: the label is hidden"),
        ({"split": "none"}, "is empty"),
        ({"columns": ("a", "b")}, "columns is for files"),
    ],
)
def test_what_the_hub_does_not_have_is_named(hub, options, message):
    with pytest.raises(ValueError, match=message):
        load_examples("acme/films:short", **options)


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
        read_hub("acme/films:short", "train")


@pytest.mark.parametrize("name", ["a/b/c", "a:b:c", "two words", ""])
def test_names_that_are_none(name):
    with pytest.raises(ValueError, match="neither a file"):
        parse_name(name)
