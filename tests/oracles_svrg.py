"""Dense float64 NumPy twin of MeZO-SVRG, written from the formulas."""

import numpy as np


def spsa(losses, directions, scale):
    """Mean over the pairs whose two losses are finite; zero where there is none.

    Args:
        losses: (K, 2), at plus and minus. directions: (K, d).
    """
    pairs = [
        (plus - minus) / (2 * scale) * u
        for (plus, minus), u in zip(losses, directions, strict=True)
        if np.isfinite(plus) and np.isfinite(minus)
    ]
    return np.mean(pairs, axis=0) if pairs else np.zeros(directions.shape[1])


def query(fn, x, directions, scale):
    """The (K, 2) losses of the pairs."""
    return np.array([[fn(x + scale * u), fn(x - scale * u)] for u in directions])


def svrg_step(x, snapshot, full, step, directions, part, whole, *, every, scale, rates, decay=0.0):
    """One step of MeZO-SVRG.

    Args:
        x, snapshot, full: (d,). step: its number. directions: (K, d).
        part, whole: losses of the minibatch and of all data. rates: (minibatch, full).

    Returns:
        New x, snapshot, full.
    """
    if step % every == 0:
        snapshot = x.copy()
        full = spsa(query(whole, x, directions, scale), directions, scale)
        return x - rates[1] * (full + decay * x), snapshot, full
    here = spsa(query(part, x, directions, scale), directions, scale)
    there = spsa(query(part, snapshot, directions, scale), directions, scale)
    return x - rates[0] * (here - there + full + decay * x), snapshot, full
