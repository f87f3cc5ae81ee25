"""What a model answers to held-out prompts, before and after."""

import dataclasses
import json

import jax
import pytest
from tiny_text import text_objective

from loren_jax.models import generate
from loren_jax.models.generation import Generated
from loren_jax.objectives import Text
from loren_jax.reports.summary import Summary


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    place = tmp_path_factory.mktemp("text")
    return text_objective(place, eval_batch_size=4, generate=11, max_new_tokens=5)


@pytest.fixture(scope="module")
def text(asked):
    return Text(asked, shown=False)


def test_answers_go_on_from_the_prompts(text):
    """Those of the held-out dialogues, in the words that the model was trained to answer."""
    scores = text.evaluate(text.params)
    answers = scores["answers"]
    assert [len(answers[name]) for name in ("asked", "wanted", "said")] == [11, 11, 11]
    assert set(answers["wanted"]) <= {" good", " bad"}
    reader, model = text._prepared.reader, text._prepared.model
    prompt = reader.tokenizer(f"User: {answers['asked'][0]}\nAssistant:")["input_ids"]
    stops = reader.stop_tokens
    assert stops == (reader.tokenizer.eos_token_id,)
    one = generate(model, prompt, max_new_tokens=5, stop_tokens=stops)
    assert answers["said"][0] == reader.decode(one)
    assert 0 <= scores["exact_match"] <= scores["token_f1"] <= 1


def test_a_model_that_says_what_is_wanted_scores_one(asked, text, monkeypatch):
    from loren_jax.objectives import text_answers

    wanted = text.evaluate(text.params)["answers"]["wanted"]
    reader = text._prepared.reader
    held_out = [turns[-1].content for turns in text._prepared.evaluated.turns][:11]
    assert held_out == wanted
    tokens = [reader.tokenizer.encode(f" {said}<eos>")[1:] for said in held_out]
    found = Generated(tokens, [True] * len(tokens))
    monkeypatch.setattr(text_answers, "generate", lambda *_, **__: found)
    scores = text.evaluate(text.params)
    assert (scores["exact_match"], scores["token_f1"]) == (1.0, 1.0)
    assert scores["answers"]["said"] == [said.strip() for said in wanted]


def test_adapters_answer_merged(asked):
    adapted = Text(dataclasses.replace(asked, lora_rank=1, generate=3), shown=False)
    same = Text(dataclasses.replace(asked, generate=3), shown=False)
    assert adapted.evaluate(adapted.params)["answers"] == same.evaluate(same.params)["answers"]
    other = jax.tree.map(lambda x: x + 1.0, adapted.params)
    assert adapted.evaluate(other)["answers"] != same.evaluate(same.params)["answers"]


def test_a_summary_has_the_answers_of_before_and_after():
    said = lambda *words: {"asked": ["1?", "2?"], "wanted": ["a", "b"], "said": [*words]}
    fields = dict.fromkeys(Summary.__dataclass_fields__, 0)
    fields |= dict.fromkeys(("interrupted", "stopped"), False)
    fields |= {name: 0.0 for name in fields if name.endswith(("_seconds", "_per_second"))}
    fields |= {"before": {"loss": 2.0, "answers": said("x", "y")}, "facts": {}, "metric": None}
    fields |= {"after": {"loss": 1.0, "answers": said("a", "y")}, "test": None}
    summary = Summary(**fields)
    values = json.loads(json.dumps(summary.as_json()))
    assert values["answers"]["before"]["said"] == ["x", "y"]
    assert values["answers"]["after"]["said"] == ["a", "y"]
    assert "answers_after" not in values
    assert Summary.from_json(values) == summary


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"max_new_tokens": 64},
            "max_new_tokens is 64, but the model has 64 positions.*: lower",
        ),
        ({"generate": -1}, "generate"),
    ],
)
def test_what_cannot_be_answered(asked, changes, message):
    with pytest.raises(ValueError, match=message):
        Text(dataclasses.replace(asked, **changes), shown=False)


def test_plain_texts_have_no_answers(asked, tmp_path):
    data = tmp_path / "texts.jsonl"
    data.write_text("".join(json.dumps({"text": f"It was {n}"}) + "\n" for n in range(20)))
    with pytest.raises(
        ValueError, match="generate answers the prompts of dialogues, but these are"
    ):
        Text(dataclasses.replace(asked, data=str(data)), shown=False)
