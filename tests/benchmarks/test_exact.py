"""Steps of `exact` on a small net: gradients of the last part, beside and within forward passes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.evidence.tasks import Task
from benchmarks.research.exact_table import least
from benchmarks.research.exact_tasks import Parted
from benchmarks.research.exact_ways import ALL, Way, start_of, step_of

RATES = {"exact": 0.1, "forward": 1e-3}


def loss(params, batch):
    hidden = jnp.tanh(batch["x"] @ params["below"]["kernel"])
    return jnp.mean((hidden @ params["head"]["kernel"] - batch["y"]) ** 2)


@pytest.fixture
def parted():
    draw = lambda number, *shape: np.asarray(jax.random.normal(jax.random.key(number), shape))
    params = {"below": {"kernel": draw(0, 6, 6)}, "head": {"kernel": draw(1, 6, 2)}}
    train = {"x": draw(2, 8, 6), "y": draw(3, 8, 2)}
    task = Task("small", params, loss, None, "loss", train, train, train, 8, {})
    alike = lambda batch: jnp.ones(len(batch["x"]))
    return Parted(task, jax.checkpoint(loss), {"head": ("head",)}, (), alike)


def stepped(way, parted, steps=1):
    params = jax.tree.map(jnp.asarray, parted.task.params)
    state, step = start_of(way, parted, params, 0), jax.jit(step_of(way, parted))
    for _ in range(steps):
        params, state = step(RATES, params, state, parted.task.train)
    return params


def by_hand(parted, parts):
    """A step of AdamW on these parts."""
    params = parted.task.params
    own = {name: params[name] for name in parts}
    slopes = jax.grad(lambda own: loss({**params, **own}, parted.task.train))(own)
    adamw = optax.adamw(RATES["exact"])
    return optax.apply_updates(own, adamw.update(slopes, adamw.init(own), own)[0])


@pytest.mark.parametrize(("forward", "rows"), [(None, False), ("mezo", False), ("loren", True)])
def test_the_last_part_takes_its_gradient_whatever_moves_the_rest(parted, forward, rows):
    moved, before = stepped(Way(forward, "head", rows=rows), parted), parted.task.params
    np.testing.assert_allclose(
        moved["head"]["kernel"], by_hand(parted, ["head"])["head"]["kernel"], rtol=1e-5
    )
    same = np.array_equal(moved["below"]["kernel"], before["below"]["kernel"])
    assert same == (forward is None)


def test_gradients_of_everything_row_by_row_and_by_blocks(parted):
    expected = by_hand(parted, ["below", "head"])
    for way in (Way(exact=ALL), Way(exact=ALL, remat=True), Way(exact=ALL, rows=True)):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), stepped(way, parted), expected
        )


def test_losses_of_forward_passes_bring_the_gradient_with_them(parted):
    """The rest moves as without it, the last part by its gradient up to the perturbation."""
    within = stepped(Way("mezo", "head", within=True), parted, steps=2)
    beside = stepped(Way("mezo", "head"), parted, steps=2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), within, beside)


def test_what_a_gradient_counts_as(parted):
    assert parted.gradient_passes(("below", "head")) == 3
    assert parted.gradient_passes(("head",)) == 1 + 2 * 12 / 48
    assert Way("mezo", "head").passes(parted) == 6 + 1.5
    assert Way("mezo", "head", within=True).passes(parted) == 6 * 1.5
    assert Way(exact=ALL, remat=True).passes(parted) == 4


def test_the_least_loss_within_a_budget():
    row = {"steps": [0, 10, 20, 30], "dev loss": [2.0, 1.5, None, 1.0]}
    assert [least(row, steps) for steps in (0, 10, 24, 30)] == [2.0, 1.5, 1.5, 1.0]
