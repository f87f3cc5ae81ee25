"""Random blocks of a form, whose scales are finite."""

import numpy as np

from loren_jax.quantised.forms import FORMS


def blocks_of(name, rows=6, blocks=3, seed=0):
    """`(rows, blocks, size)` bytes."""
    form = FORMS[name]
    drawn = np.random.default_rng(seed).integers(0, 256, (rows, blocks, form.size), np.uint8)
    size = 0.02 if form.block == 32 else 0.002
    halves = np.random.default_rng(seed + 1).normal(0, size, (rows, blocks)).astype("<f2")
    made = form.with_scales(drawn, halves)
    if name in ("Q4_1", "Q4_K"):
        made[..., 2:4] = halves[..., None].view(np.uint8)
    return made
