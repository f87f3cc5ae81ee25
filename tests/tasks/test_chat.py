"""Dialogues as one text, and where the answers stand in it."""

import importlib.util

import pytest
from prompt_tokenizers import byte_tokenizer
from tiny_text import CHATML

from loren_jax.tasks.chat import Chat, end_token, stop_tokens
from loren_jax.tasks.conversations import Turn

TURNS = (
    Turn("system", "Be short."),
    Turn("user", "It was?"),
    Turn("assistant", "good"),
    Turn("user", "and?"),
    Turn("assistant", "bad "),
)


def with_template(template):
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def answers(chat, turns=TURNS):
    text, places = chat.render(turns, "a.jsonl, line 1")
    return [text[start:stop] for start, stop in places]


def test_a_model_without_a_template_gets_a_plain_one():
    chat = Chat(byte_tokenizer())
    assert chat.template == "plain"
    assert chat.render(TURNS, "").text == (
        "System: Be short.\nUser: It was?\nAssistant: good<eos>\nUser: and?\nAssistant: bad<eos>\n"
    )
    assert answers(chat) == [" good<eos>", " bad<eos>"]
    assert chat.render_prompt(TURNS[:2], "") == "System: Be short.\nUser: It was?\nAssistant:"


def test_without_any_template_the_turns_are_joined():
    chat = Chat(byte_tokenizer(), "none")
    turns = (Turn("user", "It was"), Turn("assistant", " good"))
    assert chat.render(turns, "").text == "It was good<eos>"
    assert answers(chat, turns) == [" good<eos>"]
    assert chat.render_prompt(turns[:1], "") == "It was"


def test_a_dialogue_may_begin_with_the_assistant():
    chat = Chat(byte_tokenizer())
    assert answers(chat, (Turn("assistant", "good"), Turn("user", "x"))) == [" good<eos>"]


def test_a_models_own_template_counts():
    pytest.importorskip("jinja2")
    chat = Chat(with_template(CHATML))
    assert chat.template == "own"
    assert answers(chat) == ["good<eos>", "bad <eos>"]
    assert chat.render_prompt(TURNS[:2], "") == "<s>Be short.<eos>\n<u>It was?<eos>\n<a>"
    assert Chat(with_template(CHATML), "plain").template == "plain"


def test_a_template_that_rewrites_earlier_turns_is_searched_for_the_answers():
    """As those that drop what a model thought in earlier turns: no text is a prefix of the next."""
    pytest.importorskip("jinja2")
    chat = Chat(with_template("{{ messages|length }}" + CHATML))
    assert answers(chat) == ["good<eos>", "bad <eos>"]
    chat = Chat(with_template("{{ messages|length }}" + CHATML.replace("m['content']", "'?'")))
    with pytest.raises(ValueError, match=r"line 1: the chat template does not write turn 3 as it"):
        answers(chat)


def test_a_role_that_the_template_refuses_is_told_with_its_row():
    pytest.importorskip("jinja2")
    turns = (Turn("user", "x"), Turn("tool", "7"), Turn("assistant", "good"))
    with pytest.raises(
        ValueError, match=r"line 1: .* refuses the roles user, tool, assistant"
    ) as e:
        answers(Chat(with_template(CHATML)), turns)
    assert "no tools here" in str(e.value)
    assert "--template plain" in str(e.value)


def test_a_template_without_its_package_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "jinja2" else find(name)
    )
    with pytest.raises(ImportError, match=r"needs jinja2, .*: pip install jinja2, or give"):
        Chat(with_template(CHATML))
    assert Chat(with_template(CHATML), "plain").template == "plain"


def test_a_template_that_is_not_there_cannot_be_asked_for():
    with pytest.raises(ValueError, match="template is own, but the model has no chat template"):
        Chat(byte_tokenizer(), "own")


def test_a_tokenizer_without_an_end_is_refused():
    with pytest.raises(ValueError, match=r"has no end-of-text token.*\"eos_token\" in its"):
        Chat(byte_tokenizer(eos=None))
    assert end_token(byte_tokenizer())[0] == "<eos>"


def test_what_stands_behind_an_answer_and_the_tokens_that_end_one(tmp_path):
    own = CHATML.replace("<eos>", "<end>")
    assert Chat(with_template(own)).ending == "<end>"
    assert Chat(byte_tokenizer(), "plain").ending == byte_tokenizer().eos_token
    assert Chat(byte_tokenizer(), "none").ending == byte_tokenizer().eos_token
    tokenizer = byte_tokenizer()
    assert stop_tokens(tmp_path, tokenizer) == (tokenizer.eos_token_id,)
    for named, more in (("0", {0}), ("[0, 7]", {0, 7}), ("null", set())):
        (tmp_path / "generation_config.json").write_text(f'{{"eos_token_id": {named}}}')
        assert set(stop_tokens(tmp_path, tokenizer)) == {tokenizer.eos_token_id} | more
