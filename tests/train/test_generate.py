"""`loren-jax generate`, and `predict` with a language model."""

import json
import re

import pytest
from prompt_tokenizers import byte_tokenizer
from tiny_task import write_model
from tiny_text import CHATML, write_decoder

from loren_jax.checkpoints import checkpoint_tokenizer
from loren_jax.cli import main
from loren_jax.models import generate, load_language_model
from loren_jax.train.answers import read_prompts
from loren_jax.train.chats import Talker

PROMPTS = ["It was good", "bad", "It was bad, so bad was it"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("place")
    write_decoder(directory / "plain")
    (directory / "prompts.txt").write_text("\n".join(PROMPTS) + "\n\n")
    rows = [{"id": n, "prompt": text} for n, text in enumerate(PROMPTS)]
    (directory / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return directory


@pytest.fixture(scope="module")
def wanted(place):
    """What the library says to the prompts."""
    model, tokenizer = load_language_model(place / "plain"), checkpoint_tokenizer(place / "plain")
    ids = [tokenizer(text)["input_ids"] for text in PROMPTS]
    stop = [tokenizer.eos_token_id]
    found = generate(model, ids, max_new_tokens=12, stop_tokens=stop)
    return [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in found.tokens]


def told(capsys, *arguments):
    """What a command prints."""
    assert main(["generate", *map(str, arguments), "--max-new-tokens", "12"]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    """The one line of a command that is refused."""
    assert main([*map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_one_prompt_is_answered_as_one_reads(place, wanted, capsys):
    assert told(capsys, place / "plain", "--prompt", PROMPTS[0]) == wanted[0] + "\n"


@pytest.mark.parametrize("name", ["prompts.txt", "rows.jsonl"])
def test_prompts_of_a_file_are_answered_in_its_order(place, wanted, capsys, name):
    printed = told(capsys, place / "plain", "--prompts", place / name, "--batch-size", "2")
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [row["prompt"] for row in rows] == PROMPTS
    assert [row["answer"] for row in rows] == wanted
    assert {row["ended"] for row in rows} <= {True, False}
    assert ("id" in rows[0]) == (name == "rows.jsonl")


def test_answers_are_written_to_a_file(place, wanted, capsys):
    output = place / "answers" / "found.jsonl"
    printed = told(capsys, place / "plain", "--prompts", place / "prompts.txt", "--output", output)
    assert "3 answers" in printed
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["answer"] for row in rows] == wanted


def test_draws_are_those_of_the_seed(place, capsys):
    drawn = ("--temperature", "1.5", "--top-k", "200", "--top-p", "0.99")
    say = lambda seed: told(capsys, place / "plain", "--prompt", PROMPTS[0], *drawn, "--seed", seed)
    assert say(1) == say(1)
    assert say(1) != say(2)


def test_a_stop_text_ends_an_answer(place, wanted, capsys):
    stop = wanted[0][3:5]
    short = wanted[0][: wanted[0].index(stop)]
    assert told(capsys, place / "plain", "--prompt", PROMPTS[0], "--stop", stop) == short + "\n"
    printed = told(capsys, place / "plain", "--prompts", place / "prompts.txt", "--stop", stop)
    row = json.loads(printed.splitlines()[0])
    assert (row["answer"], row["ended"]) == (short, True)


def test_predict_answers_with_texts_too(place, wanted, capsys):
    data, output = place / "rows.jsonl", place / "predicted.csv"
    arguments = ["predict", str(place / "plain"), "--data", str(data), "--output", str(output)]
    assert main([*arguments, "--max-new-tokens", "12"]) == 0
    assert "3 answers" in capsys.readouterr().out
    header = output.read_text(encoding="utf-8").splitlines()[0]
    assert header == "id,prompt,answer,ended"


def test_pieces_of_a_text_make_up_the_text(place):
    """Characters of several bytes come whole, and nothing of a stop text is shown."""
    talker, tokenizer = Talker(str(place / "plain")), byte_tokenizer()
    text = "caf\N{LATIN SMALL LETTER E WITH ACUTE} was ## good \N{HAMMER} ##"
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces = [*talker.pieces(iter(tokens), [])]
    assert "".join(pieces) == text
    assert len(pieces) > 10
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)
    assert "".join(talker.pieces(iter(tokens), ["#"])) == text[: text.index("#")]
    assert "".join(talker.pieces(iter(tokens), [" ##!"])) == text


@pytest.fixture(scope="module")
def chat_model(place):
    return write_decoder(place / "chat", template=CHATML)


@pytest.fixture
def talker(chat_model):
    pytest.importorskip("jinja2")
    return Talker(str(chat_model))


def test_a_text_is_the_turn_of_a_user(talker):
    assert talker.text(talker.tokens("It was", "prompt")) == "<u>It was\n<a>"


def test_a_dialogue_is_asked_up_to_the_last_answer(talker, place):
    turns = [("user", "good"), ("assistant", "bad"), ("user", "It"), ("assistant", "was")]
    row = {"messages": [{"role": role, "content": text} for role, text in turns]}
    file = place / "dialogues.jsonl"
    file.write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    asked = read_prompts(str(file))
    found = talker.text(talker.tokens(asked.prompts[0], asked.places[0]))
    assert found == "<u>good\n<a>bad\n<u>It\n<a>"


def test_turns_that_the_template_refuses_are_named(talker):
    turns = [{"role": "tool", "content": "x"}]
    with pytest.raises(ValueError, match=r"a.jsonl, line 3: .*no tools here.*--raw"):
        talker.tokens(turns, "a.jsonl, line 3")


def test_raw_asks_without_the_template(chat_model):
    talker = Talker(str(chat_model), raw=True)
    assert talker.text(talker.tokens("It was", "prompt")) == "It was"
    with pytest.raises(ValueError, match="no chat template is used"):
        talker.tokens([{"role": "user", "content": "x"}], "prompt")


def test_without_jinja2_it_says_so(chat_model, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name != "jinja2" or None)
    line = refused(capsys, "generate", chat_model, "--prompt", "good")
    assert "needs jinja2" in line
    assert "--raw" in line


def test_tokens_of_generation_config_end_an_answer_too(place):
    model = write_decoder(place / "ends")
    (model / "generation_config.json").write_text('{"eos_token_id": [3, 5]}')
    eos = checkpoint_tokenizer(model).eos_token_id
    assert Talker(str(model)).stop_tokens == tuple(sorted([3, 5, eos]))


def test_bad_input_is_refused_in_one_line(place, capsys):
    model, empty = place / "plain", place / "empty.txt"
    empty.write_text("\n\n")
    (place / "holes.jsonl").write_text('{"prompt": "good"}\n{"prompt": " "}\n')
    endless = write_decoder(place / "endless", eos=None)
    write_model(place / "encoder")
    cases = [
        ((model, "--prompt", "good" * 80), "prompt has 81 tokens.*the model reads 64"),
        (
            (model, "--prompt", "bad" * 60, "--max-new-tokens", 9),
            "of --max-new-tokens 9: the model",
        ),
        ((model, "--prompt", " "), "prompt is empty"),
        ((model, "--prompts", empty), "empty.txt is empty; write one prompt a line"),
        ((model, "--prompts", place / "holes.jsonl"), "holes.jsonl, line 2 is empty"),
        ((model, "--prompts", place / "none.jsonl"), "there is no file .*none.jsonl"),
        ((model,), "neither of --prompt TEXT and --prompts FILE"),
        ((model, "--prompt", "a", "--output", "x.csv"), "--output is for the answers to --prompts"),
        ((model, "--prompts", empty, "--output", "x.txt"), "x.txt ends in none of .csv, .jsonl"),
        ((endless, "--prompt", "good"), "has no end-of-text token.*eos_token"),
        ((place / "encoder", "--prompt", "good"), "no causal language model.*predict"),
        ((model, "--prompt", "a", "--top-k", 3), "--top-k is 3, which has no effect.*temperature"),
        ((model, "--prompt", "a", "--max-new-tokens", 0), "--max-new-tokens must be at least 1"),
        ((place / "nowhere", "--prompt", "a"), "nowhere"),
    ]
    for arguments, message in cases:
        line = refused(capsys, "generate", *arguments)
        assert re.search(message, line), (message, line)
