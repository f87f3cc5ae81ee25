"""Haiku."""

import haiku as hk
import jax

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import IDS, cross_entropy

cases = Cases("dm-haiku")
KEY = jax.random.key(0)


def of(function, x):
    """Parameters and loss of a function that is to be transformed."""
    made = hk.without_apply_rng(hk.transform(function))
    return made.init(KEY, x), lambda p: cross_entropy(made.apply(p, x))


@cases
def transformer():
    """Transformer, MultiHeadAttention."""

    def scores(ids):
        x = hk.Embed(64, 32)(ids)
        for _ in range(2):
            y = hk.LayerNorm(-1, True, True)(x)
            x = x + hk.MultiHeadAttention(4, 8, w_init=hk.initializers.VarianceScaling())(y, y, y)
            y = hk.LayerNorm(-1, True, True)(x)
            x = x + hk.Linear(32)(jax.nn.gelu(hk.Linear(64)(y)))
        return hk.Linear(4)(x.mean(1))

    return of(scores, IDS)


@cases
def recurrent():
    """layer_stack, LSTM by dynamic_unroll."""

    def scores(ids):
        layer = lambda x: x + hk.Linear(16)(jax.nn.relu(x))
        x, cell = hk.layer_stack(2)(layer)(hk.Embed(64, 16)(ids)), hk.LSTM(16)
        outputs, _ = hk.dynamic_unroll(cell, x, cell.initial_state(4), time_major=False)
        return hk.Linear(4)(outputs[:, -1])

    return of(scores, IDS)


@cases
def residual():
    """nets.ResNet, BatchNorm, training."""
    shape = {"channels_per_group": (8, 8, 8, 8), "use_projection": (True,) * 4}
    net = lambda x: hk.nets.ResNet([1, 1, 1, 1], 4, bottleneck=False, **shape)(x, True)
    made = hk.without_apply_rng(hk.transform_with_state(net))
    images = jax.random.normal(KEY, (4, 32, 32, 3))
    params, state = made.init(KEY, images)
    return params, lambda p: cross_entropy(made.apply(p, state, images)[0])
