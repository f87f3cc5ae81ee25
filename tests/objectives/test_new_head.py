"""A new head that is made to answer, against numpy in double precision."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import loren_jax
from loren_jax.objectives.new_head import answering
from loren_jax.walk import SHARE


class Rows(NamedTuple):
    x: np.ndarray
    labels: np.ndarray


BATCHES = np.random.default_rng(0).normal(size=(4, 12, 5)).astype(np.float32)
LABELS = np.arange(12) % 2


def params(classes, *, bias=True):
    drawn = np.random.default_rng(1)
    body = drawn.normal(size=(5, 6)).astype(np.float32)
    head = {"kernel": 0.02 * drawn.normal(size=(6, classes)).astype(np.float32)}
    return {"body": body, "head": head | ({"bias": np.zeros(classes, np.float32)} if bias else {})}


def logits(params, tokens, shift):
    head = params["head"]
    bias = head.get("bias", jnp.zeros(1))[None]
    return jnp.tanh(tokens.x @ params["body"]) @ head["kernel"] + bias + 0 * shift


def batch(step):
    return Rows(BATCHES[step % 4], LABELS)


def softmax64(x):
    x = np.exp(np.asarray(x, np.float64))
    return x / x.sum(1, keepdims=True)


@pytest.mark.parametrize("size", [None, 4, 5])
@pytest.mark.parametrize(("classes", "bias"), [(2, True), (3, True), (3, False)])
def test_logits_differ_by_one_and_the_loss_is_the_divergence(classes, bias, size):
    given = params(classes, bias=bias)
    own = answering(logits, given, batch, "head", (jnp.zeros(()),), size)
    means = np.mean(np.asarray(logits(own.params, batch(0), 0.0), np.float64), 0)
    at = lambda params, step: np.asarray(logits(params, batch(step), 0.0), np.float64) - means
    z = at(own.params, 0)
    pairs = [z[:, a] - z[:, b] for a in range(classes) for b in range(a)]
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(pairs))), 1, rtol=1e-4)
    np.testing.assert_array_equal(own.params["body"], given["body"])
    moved = jax.tree.map(
        lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size).reshape(x.shape)), own.params
    )
    before, after = (softmax64(at(x, 1)) for x in (own.params, moved))
    lost = np.mean(np.sum(before * np.log(before / after), 1))
    there, here = (own.loss(x, own.batch(1), jnp.zeros(())) for x in (own.params, moved))
    np.testing.assert_allclose(there.loss, np.log(classes), rtol=1e-6)
    np.testing.assert_allclose(here.loss, np.log(classes) + lost, rtol=1e-4)
    of_labels = lambda p: -np.mean(np.log(p[np.arange(12), LABELS]))
    np.testing.assert_allclose(here.trained, of_labels(after), rtol=1e-4)
    # The difference of the two is linear in the logits, as the docstring has it.
    slope = (before - np.eye(classes)[LABELS]) / 12
    linear = of_labels(before) + np.sum(slope * (at(moved, 1) - at(own.params, 1)))
    np.testing.assert_allclose(here.trained, linear + lost, rtol=1e-4)


def test_the_answers_tell_what_noise_of_the_rest_costs():
    """The loss of a head of small numbers bears any noise of the body, its answers do not."""
    given = params(2)
    own = answering(logits, given, batch, "head", (0.0,))

    def loss(body, tokens):
        found = jax.nn.log_softmax(logits({**given, "body": body}, tokens, 0.0))
        return -jnp.mean(found[jnp.arange(12), LABELS])

    def divergence(body, tokens):
        return own.loss({**own.params, "body": body}, tokens, 0.0)

    with pytest.raises(ValueError, match="hardly adds to the loss"):
        loren_jax.measure_walk(loss, given["body"], batch, loren_jax.mezo)
    walk = loren_jax.measure_walk(divergence, given["body"], own.batch, loren_jax.mezo).walk
    noise = walk * np.random.default_rng(2).normal(size=(50, 5, 6)).astype(np.float32)
    cost = [float(divergence(given["body"] + n, own.batch(0)).loss) - np.log(2) for n in noise]
    np.testing.assert_allclose(np.mean(cost), SHARE * np.log(2), rtol=0.5)


def test_rows_that_are_one_to_the_head_are_named():
    one = lambda step: Rows(BATCHES[step % 4][:1], LABELS[:1])
    same = lambda step: Rows(np.repeat(BATCHES[0][:1], 3, 0), LABELS[:3])
    zeros = {**params(2), "head": jax.tree.map(np.zeros_like, params(2)["head"])}
    for given, rows in ((params(2), one), (params(2), same), (zeros, batch)):
        with pytest.raises(ValueError, match="no walk can be found beside it: give larger"):
            answering(logits, given, rows, "head", (0.0,))
