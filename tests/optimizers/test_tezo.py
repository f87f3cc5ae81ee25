"""TeZO and TeZO-m against their float64 oracles."""

import jax
import numpy as np
import optax
import oracles_low_rank as oracles
import pytest

from loren_jax.directions import temporal
from loren_jax.optimizers import tezo

ETA, BETA, DECAY = 1e-2, 0.8, 0.1


@pytest.mark.parametrize("momentum", [None, BETA])
def test_four_steps(momentum):
    """Every direction is `sum_s tau_s u_s v_s^T` of the first U and V; momentum is that of tau."""
    tx = tezo(
        ETA,
        num_directions=2,
        perturbation_scale=oracles.EPSILON,
        momentum=momentum,
        rank=2,
        weight_decay=DECAY,
    )
    start = jax.jit(tx.init)(oracles.PARAMS)[0].directions
    momenta = {}

    def average(at, now):
        if momentum is not None:
            momenta[at] = BETA * momenta.get(at, 0.0) + (1 - BETA) * now
        return now if momentum is None else momenta[at]

    def oracle(step, name, layer, x, y, c, state):
        if not isinstance(y, tuple):
            gradient = average((name, layer), oracles.spsa(y, c))
            return oracles.descend(x, gradient, ETA, DECAY)
        u, v = (np.asarray(side[name], np.float64) for side in (start.left, start.right))
        u, v = (side.reshape(-1, *side.shape[-2:])[layer] for side in (u, v))
        np.testing.assert_allclose(y[1][0], v, rtol=1e-6)
        taus = [np.diag(np.linalg.lstsq(u, left, rcond=None)[0]) for left in y[0]]
        tau = average((name, layer), sum(ck * t for ck, t in zip(c, taus, strict=True)))
        return oracles.descend(x, oracles.tezo_matrix(u, tau, v), ETA, DECAY)

    directions = temporal(2, momentum)
    _, state = oracles.follow(tx, directions, oracle, oracles.two_sided, number=2, steps=4)
    if momentum is not None:
        trace = optax.tree.get(state, "trace")
        assert trace["kernel"].shape == (2, 2)
        np.testing.assert_allclose(trace["kernel"][1], momenta["kernel", 1], rtol=1e-4, atol=1e-5)


def test_only_the_linear_one_is_fused():
    assert tezo(0.1).apply is not None
    assert tezo(0.1, momentum=0.9).apply is None


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"rank": 0}, "rank must be at least 1"),
        ({"momentum": -0.1}, "momentum must be at least 0 and below 1"),
    ],
)
def test_bad_knobs_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        tezo(0.1, **kwargs)
