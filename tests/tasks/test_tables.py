"""Reading files: every format, and every complaint with its line."""

import pytest

from loren_jax.tasks.tables import read_table


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
