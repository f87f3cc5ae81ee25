"""Draws against probabilities, and the cuts against a sort."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax import noise
from loren_jax.models.sampling import Sampling

VOCABULARY = 23
DRAWS = 20_000


def logits_of(seed):
    return np.random.default_rng(seed).normal(scale=2.0, size=VOCABULARY).astype(np.float32)


def probabilities(logits, temperature, top_k=None, top_p=None):
    """As temperature, top k and top p follow each other in transformers; by sorting."""
    scaled = logits.astype(np.float64) / temperature
    order = np.argsort(-scaled)
    kept = order[: top_k or VOCABULARY]
    mass = np.exp(scaled[kept] - scaled.max())
    before = np.concatenate([[0], np.cumsum(mass)[:-1]]) / mass.sum()
    kept = kept[before < (top_p or 1)]
    found = np.zeros(VOCABULARY)
    found[kept] = np.exp(scaled[kept] - scaled.max())
    return found / found.sum()


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.7},
        {"temperature": 1.3, "top_k": 5},
        {"temperature": 1.0, "top_p": 0.8},
        {"temperature": 2.0, "top_k": 9, "top_p": 0.6},
        {"temperature": 1.0, "top_k": 1},
    ],
)
def test_tokens_come_as_often_as_their_probability_says(options):
    logits = logits_of(len(options))
    drawn = noise.gumbels(noise.run_key(1), jnp.arange(DRAWS), jnp.asarray(2), VOCABULARY)
    choose = jax.jit(Sampling(**options).choose)
    tokens = choose(jnp.broadcast_to(jnp.asarray(logits), drawn.shape), drawn)
    wanted = probabilities(logits, **options)
    found = np.bincount(tokens, minlength=VOCABULARY) / DRAWS
    assert not found[wanted == 0].any()
    error = np.sqrt(wanted * (1 - wanted) / DRAWS)
    assert np.all(np.abs(found - wanted) <= 5 * error + 1e-9)


def test_cuts_hold_for_every_row_by_itself():
    logits = np.stack([logits_of(seed) for seed in range(6)])
    options = {"temperature": 1.0, "top_k": 4, "top_p": 0.7}
    drawn = np.where(np.arange(VOCABULARY) == np.argsort(logits)[:, :1], 30, 0)  # the least likely
    found = Sampling(**options).choose(jnp.asarray(logits), jnp.asarray(drawn, jnp.float32))
    np.testing.assert_array_equal(found, logits.argmax(axis=1))


def test_greedy_asks_for_no_noise():
    logits = jnp.asarray(np.stack([logits_of(0), logits_of(1)]))
    np.testing.assert_array_equal(Sampling().choose(logits), jnp.argmax(logits, axis=1))


def test_neighbours_choose_the_same_with_the_same_noise():
    """Nearly always, so that two queries of a step differ by their parameters and not by luck."""
    drawn = noise.gumbels(noise.run_key(4), jnp.arange(DRAWS), jnp.asarray(0), VOCABULARY)
    logits = jnp.broadcast_to(jnp.asarray(logits_of(5)), drawn.shape)
    shift = jnp.broadcast_to(0.01 * jnp.asarray(logits_of(6)), drawn.shape)
    sampling = Sampling(temperature=1.0)
    same = sampling.choose(logits, drawn) == sampling.choose(logits + shift, drawn)
    assert jnp.mean(same) > 0.98


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be zero or more and finite, got -1.0"),
        ({"temperature": float("nan")}, "temperature must be .* got nan"),
        ({"temperature": 1.0, "top_k": 0}, "top_k must be at least 1, got 0"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p must be above 0 .* got 0.0"),
        ({"temperature": 1.0, "top_p": 1.5}, "top_p must be .* at most 1, got 1.5"),
        ({"top_p": 0.9}, "top_p is 0.9, which has no effect.*temperature above 0"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**options)
