"""The loss of a span against a sum of logarithms in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.models.language_loss import perplexity, span_loss

RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(3 * RNG.standard_normal((2, 4, 5)), jnp.float32)
LOSS = jax.jit(span_loss)
IDS = RNG.integers(0, 5, (2, 4)).astype(np.int32)


def by_hand(span):
    wide = np.asarray(LOGITS, np.float64)
    nats = [
        np.log(np.exp(wide[b, t - 1]).sum()) - wide[b, t - 1, IDS[b, t]]
        for b in range(2)
        for t in range(1, 4)
        if span[b][t]
    ]
    return np.mean(nats)


@pytest.mark.parametrize(
    "span",
    [
        [[1, 1, 1, 1], [1, 1, 1, 1]],  # the first token is never predicted
        [[0, 0, 1, 1], [0, 0, 0, 1]],  # the mean is over tokens, not over rows
        [[0, 2, 0, 0], [0, 0, 0, 0]],
    ],
)
def test_mean_over_the_spans_targets(span):
    loss = LOSS(LOGITS, IDS, np.array(span))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, by_hand(span), rtol=1e-6)
    boolean = np.array(span) != 0
    np.testing.assert_allclose(perplexity(LOGITS, IDS, boolean), np.exp(by_hand(span)), rtol=1e-5)


@pytest.mark.parametrize("first", [0, 1])
def test_empty_span_is_no_nan(first):
    span = np.array([[first, 0, 0, 0]] * 2)
    assert LOSS(LOGITS, IDS, span) == 0


def test_what_stands_outside_the_span_may_be_infinite():
    logits = np.array(LOGITS)
    logits[:, 0] = np.nan
    span = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    np.testing.assert_allclose(LOSS(logits, IDS, span), by_hand(span), rtol=1e-6)


def test_bfloat16_logits_are_summed_in_float32():
    span = np.ones((2, 4), np.int32)
    narrow = jnp.asarray(LOGITS, jnp.bfloat16)
    loss = LOSS(narrow, IDS, span)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, LOSS(narrow.astype(jnp.float32), IDS, span), rtol=1e-6)


def test_large_logits_do_not_overflow():
    assert jnp.isfinite(LOSS(LOGITS * 1e4, IDS, np.ones((2, 4), np.int32)))
