"""A new head that is made to answer, against numpy in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import loren_jax
from loren_jax.objectives.new_head import answering
from loren_jax.walk import SHARE

BATCHES = np.random.default_rng(0).normal(size=(4, 12, 5)).astype(np.float32)


def params(classes):
    drawn = np.random.default_rng(1)
    return {
        "body": drawn.normal(size=(5, 6)).astype(np.float32),
        "head": {
            "kernel": 0.02 * drawn.normal(size=(6, classes)).astype(np.float32),
            "bias": np.zeros(classes, np.float32),
        },
    }


def logits(params, tokens, shift):
    head = params["head"]
    return jnp.tanh(tokens["x"] @ params["body"]) @ head["kernel"] + head["bias"][None] + 0 * shift


def batch(step):
    return {"x": BATCHES[step % 4], "labels": np.zeros(12, int)}


def softmax64(x):
    x = np.exp(np.asarray(x, np.float64))
    return x / x.sum(1, keepdims=True)


@pytest.mark.parametrize("size", [None, 4, 5])
@pytest.mark.parametrize("classes", [2, 3])
def test_logits_differ_by_one_and_the_loss_is_the_divergence(classes, size):
    given = params(classes)
    own = answering(logits, given, batch, "head", (jnp.zeros(()),), size)
    z = np.asarray(logits(own.params, batch(0), 0.0), np.float64)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    pairs = [z[:, a] - z[:, b] for a in range(classes) for b in range(a)]
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(pairs))), 1, rtol=1e-4)
    np.testing.assert_array_equal(own.params["body"], given["body"])
    moved = jax.tree.map(
        lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size).reshape(x.shape)), own.params
    )
    before, after = (softmax64(logits(x, batch(1), 0.0)) for x in (own.params, moved))
    wanted = np.log(classes) + np.mean(np.sum(before * np.log(before / after), 1))
    np.testing.assert_allclose(own.loss(moved, own.batch(1), jnp.zeros(())), wanted, rtol=1e-4)
    np.testing.assert_allclose(
        own.loss(own.params, own.batch(1), jnp.zeros(())), np.log(classes), rtol=1e-6
    )


def test_the_answers_tell_what_noise_of_the_rest_costs():
    """The loss of a head of small numbers bears any noise of the body, its answers do not."""
    given, labels = params(2), jnp.asarray([0, 1] * 6)
    own = answering(logits, given, batch, "head", (0.0,))

    def loss(body, tokens):
        found = jax.nn.log_softmax(logits({**given, "body": body}, tokens, 0.0))
        return -jnp.mean(found[jnp.arange(12), labels])

    def divergence(body, tokens):
        return own.loss({**own.params, "body": body}, tokens, 0.0)

    with pytest.raises(ValueError, match="hardly adds to the loss"):
        loren_jax.measure_walk(loss, given["body"], batch, loren_jax.mezo)
    walk = loren_jax.measure_walk(divergence, given["body"], own.batch, loren_jax.mezo).walk
    noise = walk * np.random.default_rng(2).normal(size=(50, 5, 6)).astype(np.float32)
    cost = [float(divergence(given["body"] + n, own.batch(0))) - np.log(2) for n in noise]
    np.testing.assert_allclose(np.mean(cost), SHARE * np.log(2), rtol=0.5)


def test_rows_that_are_one_to_the_head_are_named():
    one = lambda step: {"x": BATCHES[step % 4][:1]}
    same = lambda step: {"x": np.repeat(BATCHES[0][:1], 3, 0)}
    zeros = {**params(2), "head": jax.tree.map(np.zeros_like, params(2)["head"])}
    for given, rows in ((params(2), one), (params(2), same), (zeros, batch)):
        with pytest.raises(ValueError, match="no walk can be found beside it: give larger"):
            answering(logits, given, rows, "head", (0.0,))
