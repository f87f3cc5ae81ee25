"""Rows of any shape as dialogues or documents."""

import csv
import json

import numpy as np
import pandas
import pytest

from loren_jax.tasks.conversations import Turn, load_texts
from loren_jax.tasks.sources import Rows

ASKED = (Turn("user", "2 + 2?"), Turn("assistant", "4"))


def written(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    "row",
    [
        {
            "messages": [
                {"role": "user", "content": "2 + 2?"},
                {"role": "assistant", "content": "4"},
            ]
        },
        {"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]},
        {"Prompt": "2 + 2?", "completion": "4"},
        {"prompt": "2 + 2?", "response": "4", "score": 3},
        {"question": "2 + 2?", "answer": "4"},
        {"instruction": "2 + 2?", "input": "", "output": "4"},
        {
            "prompt": [{"role": "user", "content": "2 + 2?"}],
            "completion": [{"role": "assistant", "content": [{"type": "text", "text": "4"}]}],
        },
    ],
    ids=lambda row: "-".join(row),
)
def test_columns_are_found_by_their_names(tmp_path, row):
    texts = load_texts(written(tmp_path / "a.jsonl", row))
    assert texts.turns == (ASKED,)
    assert not texts.documents


def test_what_an_instruction_is_about_goes_behind_it(tmp_path):
    row = {"instruction": "Translate.", "input": "Haus", "output": "house"}
    (turns,) = load_texts(written(tmp_path / "a.jsonl", row)).turns
    assert turns == (Turn("user", "Translate.\n\nHaus"), Turn("assistant", "house"))


def test_plain_texts_are_documents(tmp_path):
    texts = load_texts(written(tmp_path / "a.jsonl", {"text": "one"}, {"text": "two"}))
    assert texts.documents
    assert [turns[0].content for turns in texts.turns] == ["one", "two"]
    assert texts.select(np.array([1])).places == (f"{tmp_path / 'a.jsonl'}, line 2",)


def test_other_columns_are_named(tmp_path):
    rows = written(tmp_path / "a.jsonl", {"ask": "2 + 2?", "say": "4", "text": "no"})
    assert load_texts(rows, text_columns=("ask", "say")).turns == (ASKED,)
    with pytest.raises(ValueError, match=r"no column 'tell'; the columns are ask, say, text"):
        load_texts(rows, text_columns=("ask", "tell"))


def test_a_csv_file_may_hold_messages_as_json(tmp_path):
    messages = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["messages"], [json.dumps(messages)]])
    assert load_texts(tmp_path / "a.csv").turns == (ASKED,)


def test_a_data_frame_may_hold_messages_as_arrays():
    messages = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
    frame = pandas.DataFrame({"messages": [np.array(messages, object)]})
    assert load_texts(Rows.of(frame)).turns == (ASKED,)


def test_rows_without_a_completion_are_left_out_and_said(tmp_path, capsys):
    rows = [{"prompt": "2 + 2?", "completion": c} for c in ("4", " ", None)]
    assert load_texts(written(tmp_path / "a.jsonl", *rows)).turns == (ASKED,)
    assert "2 rows have nothing in 'completion' and are left out, the first line 2" in (
        capsys.readouterr().err
    )


def test_a_prompt_alone_may_be_asked(tmp_path):
    rows = written(tmp_path / "a.jsonl", {"prompt": "2 + 2?"})
    assert load_texts(rows, answered=False).turns == (ASKED[:1],)
    with pytest.raises(ValueError, match="none of messages, conversations, prompt and completion"):
        load_texts(rows)


def user(content="hello"):
    return {"role": "user", "content": content}


def assistant(content="fine"):
    return {"role": "assistant", "content": content}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"label": 1, "sentence": "x"}], r"a\.jsonl: none of messages, .* name one of a text"),
        ([{"prompt": "a", "completion": "b", "response": "c"}], "could each be prompt and"),
        ([{"messages": []}], r"line 1: column 'messages' holds \[\], not a list of messages"),
        ([{"messages": [user(), assistant()]}, {"messages": [user()]}], "line 2: no message is of"),
        ([{"messages": [user(), assistant(" ")]}], "line 1: message 2, of the assistant, is empty"),
        ([{"messages": [user(), {"role": "assistant"}]}], "line 1: message 2 is .* a role and a"),
        ([{"messages": [{"role": 3, "content": "x"}, assistant()]}], "message 1 has the role 3"),
        ([{"messages": [user(7), assistant()]}], "line 1: message 1 holds 7, not a text"),
        ([{"prompt": 3, "completion": "x"}], "line 1: column 'prompt' holds 3, not a text"),
        ([{"text": "a"}, {"text": [user(), assistant()]}], "messages in some rows and plain text"),
        ([{"prompt": "", "completion": ""}], "no row has something in each of"),
    ],
)
def test_each_complaint_names_the_row_and_what_to_do(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_texts(written(tmp_path / "a.jsonl", *rows))
    assert "\n" not in str(caught.value)
