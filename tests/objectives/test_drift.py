"""How far a model is from the one that it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.objectives.drift import Drift

VOCABULARY = 5
START = {"table": jnp.sin(jnp.arange(25.0)).reshape(5, 5)}
PROMPTS, ANSWERS = [[1, 2], [3]] * 3, [[4, 0], [2, 1, 3]] * 3


def apply(params, ids, mask, places):
    """Logits by the token itself; what is padding has none that are numbers."""
    logits = jnp.where(mask[..., None], params["table"][ids], jnp.nan)
    return jnp.take_along_axis(logits, places[..., None], axis=1)


def test_it_is_the_divergence_at_each_token_of_the_answers():
    moved = {"table": START["table"] + 0.3 * jnp.cos(jnp.arange(25.0)).reshape(5, 5)}
    found = Drift(apply, START)(moved, PROMPTS, ANSWERS)
    log_p, log_q = (np.asarray(jax.nn.log_softmax(x["table"]), float) for x in (moved, START))
    by_token = (np.exp(log_p) * (log_p - log_q)).sum(-1)
    # Each token of an answer is said by the one before it.
    before = [2, 4, 3, 2, 1]
    assert found["kl"] == pytest.approx(by_token[before].mean(), rel=1e-4)
    change = np.linalg.norm(moved["table"] - START["table"]) / np.linalg.norm(START["table"])
    assert found["distance"] == pytest.approx(change, rel=1e-5)


def test_the_start_is_at_no_distance_from_itself():
    own = jax.tree.map(jnp.copy, START)
    drift = Drift(apply, own)
    jax.tree.leaves(own)[0].delete()  # as a run in place does
    assert drift(START, PROMPTS, ANSWERS) == {"distance": 0.0, "kl": 0.0}


def test_empty_answers_say_nothing():
    assert Drift(apply, START)(START, [[1]], [[]])["kl"] == 0.0
