"""Scores and the loss, against sums by hand."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.objectives import Scorer, cross_entropy
from loren_jax.tasks import Tokens

LOGITS = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 0.5], [1.0, 0.0]], np.float32)
LABELS = np.array([0, 1, 1, 1, 0], np.int32)
INDICES = np.arange(5, dtype=np.int32)[:, None]
TOKENS = Tokens(INDICES, np.ones_like(INDICES), np.zeros_like(INDICES), LABELS)


def apply(params, input_ids, attention_mask, token_type_ids):
    del attention_mask, token_type_ids
    return params[input_ids[:, 0]]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 100])
def test_every_example_counts_once(batch_size):
    params = jnp.asarray(LOGITS)
    chex.clear_trace_counter()
    scorer = Scorer(
        chex.assert_max_traces(apply, 1), TOKENS, batch_size, metrics=("accuracy", "matthews")
    )
    scores = scorer(params)
    wide = LOGITS.astype(np.float64)
    loss = np.mean(np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(5), LABELS])
    matthews = (2 * 2 - 0) / np.sqrt(2 * 3 * 3 * 2)
    expected = {"loss": loss, "accuracy": 0.8, "matthews": matthews, "examples": 5}
    assert scores == pytest.approx(expected, rel=1e-6)
    assert scorer.passes == -(-5 // min(batch_size, 5))
    assert scorer(params) == scores
    np.testing.assert_array_equal(params, LOGITS)


def test_named_classes_have_scores_of_their_own():
    by_class = Scorer(apply, TOKENS, 2, label_names=("no", "yes"))(jnp.asarray(LOGITS))["by_class"]
    assert by_class["confusion"] == [[2, 0], [1, 2]]
    assert [one["name"] for one in by_class["classes"]] == ["no", "yes"]


def test_a_loss_that_is_not_finite_shows():
    scores = Scorer(apply, TOKENS, 2)(jnp.asarray(LOGITS).at[0, 0].set(jnp.nan))
    assert np.isnan(scores["loss"])
    assert scores["accuracy"] == pytest.approx(0.8)  # argmax takes NaN for the largest


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_cross_entropy_is_float32(dtype):
    logits = jnp.asarray([[3.0, -1.0], [0.5, 0.25]], dtype)
    losses = cross_entropy(logits, np.array([0, 1], np.int32))
    wide = np.asarray(logits, np.float64)
    expected = np.log(np.exp(wide).sum(axis=1)) - wide[[0, 1], [0, 1]]
    assert losses.dtype == jnp.float32
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
