"""Texts as rows of tokens, and which of these are predicted."""

import re

import numpy as np
import pytest
from prompt_tokenizers import byte_tokenizer, word_tokenizer
from tiny_text import CHATML

from loren_jax.checkpoints.gguf.sentencepiece import SPACE, Kind, Piece, sentencepiece_tokenizer
from loren_jax.checkpoints.gguf.tokenizer import fast_tokenizer
from loren_jax.tasks.conversations import Texts, Turn
from loren_jax.tasks.spans import SpanReader


def dialogues(*pairs):
    turns = tuple((Turn("user", asked), Turn("assistant", said)) for asked, said in pairs)
    return Texts(turns, tuple(f"a.jsonl, line {n}" for n in range(1, len(pairs) + 1)))


def documents(*texts):
    turns = tuple((Turn("", text),) for text in texts)
    return Texts(turns, tuple(f"line {n}" for n in range(1, len(texts) + 1)))


def predicted(tokenizer, row):
    return tokenizer.decode(row.input_ids[row.counted])


def test_the_loss_is_of_the_completion_with_its_end():
    tokenizer = byte_tokenizer(ending=True)
    found = SpanReader(tokenizer).read(dialogues(("It was?", "good"), ("x", "bad")), 100)
    assert [predicted(tokenizer, row) for row in found.rows] == [" good<eos>", " bad<eos>"]
    first = tokenizer.decode(found.rows[0].input_ids)
    assert first == "<bos>User: It was?\nAssistant: good<eos>\n"
    assert (found.cut, found.dropped) == (0, 0)


def test_the_loss_may_be_of_all_tokens():
    found = SpanReader(byte_tokenizer(), loss_on="all").read(dialogues(("x", "good")), 100)
    assert found.rows[0].counted.all()


def test_all_turns_of_the_assistant_count_in_a_models_own_template():
    pytest.importorskip("jinja2")
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = CHATML
    turns = (Turn("user", "?"), Turn("assistant", "good"), Turn("user", "!"))
    found = SpanReader(tokenizer).read(Texts((turns * 2,), ("",)), 100)
    assert predicted(tokenizer, found.rows[0]) == "good<eos>good<eos>"
    assert "<bos>" not in tokenizer.decode(found.rows[0].input_ids)  # the template writes none


def test_a_token_over_the_border_belongs_to_the_answer():
    """`It wa` before the border and `s` behind it: the tokenizer makes one token of `was`."""
    tokenizer = byte_tokenizer()
    reader = SpanReader(tokenizer, template="none")
    row = reader.read(dialogues(("It wa", "s bad")), 100).rows[0]
    assert predicted(tokenizer, row) == " was bad<eos>"


def test_a_long_dialogue_is_cut_from_the_left_of_its_prompt_and_counted():
    tokenizer, prompt = byte_tokenizer(), "a" * 50
    found = SpanReader(tokenizer).read(dialogues((prompt, "good"), ("b", "bad")), 30)
    assert (len(found.rows), found.cut, found.dropped) == (2, 1, 0)
    text = tokenizer.decode(found.rows[0].input_ids)
    assert re.fullmatch(r"<bos>a+\nAssistant: good<eos>\n", text)
    assert len(found.rows[0].input_ids) == 30
    assert predicted(tokenizer, found.rows[0]) == " good<eos>"


def test_a_long_dialogue_may_be_dropped_and_is_counted():
    texts = dialogues(("a" * 50, "good"), ("b", "bad"))
    found = SpanReader(byte_tokenizer(), long="drop").read(texts, 30)
    assert (len(found.rows), found.cut, found.dropped) == (1, 0, 1)
    with pytest.raises(ValueError, match="all 2 texts are longer and were dropped: raise"):
        SpanReader(byte_tokenizer(), long="drop").read(texts, 5)


def test_a_completion_that_does_not_fit_is_told_with_its_row():
    with pytest.raises(ValueError, match=r"line 2: its completion alone has 4\d tokens, but") as e:
        SpanReader(byte_tokenizer()).read(dialogues(("a", "b"), ("a", "c" * 40)), 30)
    assert "raise max_length, or give --long drop" in str(e.value)


def test_a_dialogue_that_predicts_nothing_is_refused():
    turns = (Turn("assistant", ""), Turn("user", "x"))
    with pytest.raises(ValueError, match=r"a, line 1: no token of it is to be predicted"):
        SpanReader(byte_tokenizer(), template="none").read(
            Texts(((Turn("user", "x"),),), ("a, line 1",)), 30
        )
    assert SpanReader(byte_tokenizer()).read(Texts((turns,), ("",)), 60).rows


def test_documents_end_and_long_ones_go_on_so_that_each_token_is_predicted_once():
    tokenizer = byte_tokenizer()
    found = SpanReader(tokenizer).read(documents("abcdefgh", "xy"), 5)
    rows = [tokenizer.convert_ids_to_tokens(row.input_ids.tolist()) for row in found.rows]
    assert rows == [
        ["<bos>", "a", "b", "c", "d"],
        ["d", "e", "f", "g", "h"],
        ["h", "<eos>"],
        ["<bos>", "x", "y", "<eos>"],
    ]
    assert all(row.counted.all() for row in found.rows)


def test_packed_documents_lie_end_to_end():
    tokenizer = byte_tokenizer()
    found = SpanReader(tokenizer, packed=True).read(documents("abc", "xy", "z"), 6)
    text = "".join(tokenizer.convert_ids_to_tokens(found.rows[0].input_ids.tolist()))
    assert text == "<bos>abc<eos><bos>"
    total = sum(len(row.input_ids) - 1 for row in found.rows)
    assert total == len("abcxyz") + 6 - 1  # all but the very first


def test_a_single_token_is_no_row():
    with pytest.raises(ValueError, match="max_length is 1, and nothing stands before"):
        SpanReader(byte_tokenizer()).read(documents("abc"), 1)


def test_documents_need_an_end_token():
    with pytest.raises(ValueError, match="has no end-of-text token"):
        SpanReader(word_tokenizer()).read(documents("film"), 8)


def test_a_question_ends_where_its_answer_begins():
    tokenizer = byte_tokenizer()
    texts = dialogues(("It was?", "good"))
    (ids,) = SpanReader(tokenizer).prompt_tokens(texts, 100)
    assert tokenizer.decode(ids) == "<bos>User: It was?\nAssistant:"
    (short,) = SpanReader(tokenizer).prompt_tokens(texts, 13)
    assert (len(short), tokenizer.decode(short)) == (13, "<bos>?\nAssistant:")
    row = SpanReader(tokenizer).read(texts, 100).rows[0]
    np.testing.assert_array_equal(row.input_ids[: len(ids)], ids)
    assert np.flatnonzero(row.counted)[0] == len(ids)


def sentencepiece_of():
    """As in a GGUF of the Llama family: words begin with a mark, each text with `<s>`."""
    letters = sorted(set("User: Asitn?!gobdm\n. ") - {" "})
    texts = ["<unk>", "<s>", "</s>", SPACE, *letters, "go", SPACE + "m", "od", SPACE + "b", "ad"]
    kinds = [Kind.UNKNOWN, Kind.CONTROL, Kind.CONTROL] + [Kind.NORMAL] * (len(texts) - 3)
    pieces = [Piece(*one) for one in zip(texts, range(0, -len(texts), -1), kinds, strict=True)]
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return fast_tokenizer(
        sentencepiece_tokenizer(pieces, unknown=0), special, add_bos=True, add_eos=False
    )


def test_spans_of_a_sentencepiece_vocabulary():
    """Whose tokens hold the space before a word, and begin each text with one more."""
    tokenizer = sentencepiece_of()
    row = SpanReader(tokenizer).read(dialogues(("it?", "good"), ("is", "bad")), 100).rows[0]
    tokens = tokenizer.convert_ids_to_tokens(row.input_ids.tolist())
    assert tokens[:2] == ["<s>", SPACE]
    counted = [token for token, is_counted in zip(tokens, row.counted, strict=True) if is_counted]
    assert counted == [SPACE, "go", "od", "</s>"]
