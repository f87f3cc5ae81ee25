"""A language model's objective: what of the texts is predicted, and how well."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_task import write_model
from tiny_text import text_objective, write_dialogues

from loren_jax.models import load_language_model, span_loss
from loren_jax.models.families import prediction_function
from loren_jax.objectives import Text, TextConfig
from loren_jax.objectives.saved_text import read_text_settings


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    place = tmp_path_factory.mktemp("text")
    return text_objective(place, eval_batch_size=8, max_length=60, buckets=3)


@pytest.fixture(scope="module")
def text(asked):
    return Text(asked, shown=False)


def whole_loss(config, params, batch):
    """From the logits of all tokens, which the objective never makes."""
    model = load_language_model(config.model)
    logits = model.apply(params, batch.input_ids, batch.attention_mask)
    span = np.zeros_like(batch.input_ids)
    for row, places, weights in zip(span, batch.positions, batch.weights, strict=True):
        row[places[weights > 0] + 1] = 1
    return span_loss(logits, batch.input_ids, span)


def test_the_loss_is_that_of_the_whole_logits(asked, text):
    for step in range(3):
        batch = text.batch(step)
        assert batch.weights.sum() < batch.attention_mask.sum() / 3  # a short completion
        wanted = whole_loss(asked, text.params, batch)
        np.testing.assert_allclose(text.loss(text.params, batch), wanted, rtol=1e-6)


def test_micro_batches_count_by_their_tokens(asked, text):
    """Of rows with different numbers of tokens that count, a mean of means is another one."""
    batch = text.batch(1)
    batch = batch._replace(weights=batch.weights * np.array([[1], [0], [1], [1]], np.float32))
    for size in (1, 3):
        small = Text(dataclasses.replace(asked, micro_batch_size=size), shown=False)
        np.testing.assert_allclose(
            small.loss(text.params, batch), text.loss(text.params, batch), rtol=1e-6
        )


def test_logits_are_made_at_the_places_alone(text):
    batch = text.batch(1)
    shape = jax.eval_shape(text.trainable.apply, text.params, *batch[:3]).shape
    assert shape[:2] == batch.positions.shape
    text_of = str(jax.make_jaxpr(text.loss)(text.params, batch))
    rows, length = batch.input_ids.shape
    assert f"f32[{rows},{length},{shape[2]}]" not in text_of
    assert f"f32[{rows},{shape[1]},{shape[2]}]" in text_of


def test_scores_weigh_every_token_alike(asked, text):
    scores = text.evaluate(text.params)
    rows = text._prepared.held_out
    nats = tokens = right = 0
    for number in range(len(rows)):
        one = rows.take(np.array([number]))
        count = one.weights.sum()
        nats += float(whole_loss(asked, text.params, one)) * count
        logits = text.trainable.apply(text.params, *one[:3])
        right += int(((jnp.argmax(logits, -1) == one.targets) * one.weights).sum())
        tokens += count
    assert tokens == text.told["held_out_tokens"]
    np.testing.assert_allclose(scores["loss"], nats / tokens, rtol=1e-6)
    np.testing.assert_allclose(scores["perplexity"], np.exp(nats / tokens), rtol=1e-5)
    assert scores["token_accuracy"] == right / tokens
    assert scores["examples"] == 12


def test_no_more_programs_than_buckets(asked, text):
    shapes = {text.batch(step).input_ids.shape for step in range(30)}
    assert 2 <= len(shapes) <= asked.buckets


def test_all_tokens_may_count(asked):
    everything = Text(dataclasses.replace(asked, loss_on="all"), shown=False)
    batch = everything.batch(0)
    np.testing.assert_array_equal(batch.weights.sum(1), batch.attention_mask.sum(1) - 1)
    np.testing.assert_allclose(
        everything.loss(everything.params, batch),
        span_loss(
            load_language_model(asked.model).apply(everything.params, *batch[:2]),
            batch.input_ids,
            batch.attention_mask,
        ),
        rtol=1e-6,
    )


def test_the_best_is_chosen_on_texts_that_are_not_reported(asked):
    text = Text(dataclasses.replace(asked, keep="best", dev_examples=5), shown=False)
    assert (text.select, text.held_out) == ("-loss", "dev")
    assert text.evaluate(text.params)["examples"] == 5
    assert text.test(text.params)["examples"] == 12
    assert text.told["train_examples"] == 43


def test_adapters_begin_as_the_model(asked, text):
    adapted = Text(dataclasses.replace(asked, lora_rank=2), shown=False)
    batch = text.batch(0)
    np.testing.assert_allclose(
        adapted.loss(adapted.params, batch, *adapted.frozen),
        text.loss(text.params, batch),
        rtol=1e-6,
    )
    assert adapted.trainable.trained_parameters < text.trainable.trained_parameters


def test_what_was_cut_or_dropped_is_said(asked, capsys):
    Text(dataclasses.replace(asked, max_length=30))
    assert "20 of them are longer than 30 tokens and are cut from the left" in (
        capsys.readouterr().err
    )
    dropped = Text(dataclasses.replace(asked, max_length=30, long="drop"))
    assert "20 of them are longer than 30 tokens and are left out" in capsys.readouterr().err
    assert dropped.told["texts_dropped"] == 20
    assert dropped.told["train_examples"] + dropped.told["held_out_examples"] == 40


def test_plain_texts_may_be_packed(asked, tmp_path):
    rows = [{"text": "It was good. " * n} for n in range(1, 21)]
    data = tmp_path / "texts.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    apart = Text(dataclasses.replace(asked, data=str(data), max_length=32), shown=False)
    packed = Text(
        dataclasses.replace(asked, data=str(data), max_length=32, packed=True), shown=False
    )
    assert packed.told["train_examples"] < apart.told["train_examples"]
    assert packed.told["template"] is None
    padding = lambda t: 1 - t.batch(0).attention_mask.mean()
    assert padding(packed) <= padding(apart)


def test_a_saved_model_tells_how_it_was_asked(text, tmp_path):
    text.save(tmp_path / "model", text.params)
    told = read_text_settings(tmp_path / "model")
    assert told == {"template": "plain", "loss_on": "completion", "max_length": 60}
    (tmp_path / "model" / "text.json").write_text("{}")
    with pytest.raises(ValueError, match=r"text\.json is damaged; export the model again"):
        read_text_settings(tmp_path / "model")


def test_an_encoder_is_refused(asked, tmp_path):
    model = str(write_model(tmp_path / "encoder"))
    with pytest.raises(ValueError, match=r"model: encoder is an encoder \(.*take a causal"):
        Text(dataclasses.replace(asked, model=model), shown=False)


def test_a_classifier_predicts_no_token():
    from loren_jax.models import LlamaConfig

    config = LlamaConfig(
        vocab_size=8, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1
    )
    with pytest.raises(ValueError, match="head='classification' predicts no next token; take"):
        prediction_function(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": 80}, "max_length is 80, but the model has 64 positions; give at most 64"),
        ({"batch_size": 50}, "batch_size is 50, but there are only 48 rows to train on: lower"),
        ({"held_out_examples": None}, "both None, but both sets come from the same data"),
        ({"max_length": 4}, "its completion alone has .* raise max_length, or give --long drop"),
        ({"template": "own"}, "template is own, but the model has no chat template: give plain"),
        ({"trainable": ("head",)}, "a classification head, which a language model has none of"),
    ],
)
def test_what_cannot_be_asked(asked, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        Text(dataclasses.replace(asked, **changes), shown=False)
    assert "\n" not in str(caught.value)


def test_two_texts_cannot_be_held_out_of(asked, tmp_path):
    data = write_dialogues(tmp_path / "one.jsonl", 1)
    with pytest.raises(ValueError, match="1 texts are too few to hold some of them out; give more"):
        Text(dataclasses.replace(asked, data=str(data), batch_size=1), shown=False)


def test_a_task_with_labels_is_refused():
    with pytest.raises(ValueError, match="data is the task sst2, of texts with a label"):
        TextConfig(data="sst2")
