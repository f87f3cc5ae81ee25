"""SubZero against its float64 oracle, through two renewals of its bases."""

import numpy as np
import oracles_low_rank as oracles
import pytest

from loren_jax.directions import core_subspace
from loren_jax.optimizers import subzero

ETA, DECAY = 1e-2, 0.1


def test_five_steps():
    """Steps 0, 2 and 4 renew U and V; every direction is `sqrt(mn) / r U z V^T`."""
    tx = subzero(
        ETA,
        num_directions=2,
        perturbation_scale=oracles.EPSILON,
        rank=2,
        every=2,
        weight_decay=DECAY,
    )

    def oracle(step, name, layer, x, y, c, state):
        if not isinstance(y, tuple):
            return oracles.descend(x, oracles.spsa(y, c), ETA, DECAY)
        u, v = (np.asarray(side[name], np.float64) for side in (state.left, state.right))
        u, v = (side.reshape(-1, *side.shape[-2:])[layer] for side in (u, v))
        cores = [2 / np.sqrt(len(u) * len(v)) * u.T @ left for left in y[0]]
        total = sum(ck * oracles.subzero_matrix(u, z, v) for ck, z in zip(c, cores, strict=True))
        return oracles.descend(x, total, ETA, DECAY)

    oracles.follow(tx, core_subspace(2, 2), oracle, oracles.two_sided, number=2, steps=5)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"rank": 0}, "rank must be at least 1"),
        ({"every": 0}, "every must be at least 1"),
        ({"weight_decay": -1.0}, "weight_decay must be zero or more"),
    ],
)
def test_bad_knobs_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        subzero(0.1, **kwargs)
