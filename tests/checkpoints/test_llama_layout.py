"""Rows reordered for half-split rotation give the attention of interleaved rotation."""

import numpy as np

from loren_jax.checkpoints.llama_layout import half_split

HEADS, HEAD_DIM, WIDTH = 3, 8, 5
ANGLES = 2.0 ** -np.arange(HEAD_DIM // 2)


def rotated(features, position, *, interleaved):
    """One head's features, pairs turned by the position."""
    first, second = (features[0::2], features[1::2]) if interleaved else np.split(features, 2)
    turned = (first + 1j * second) * np.exp(1j * position * ANGLES)
    return np.concatenate([turned.real, turned.imag])


def test_attention_is_kept():
    rng = np.random.default_rng(0)
    queries, keys = rng.standard_normal((2, HEADS * HEAD_DIM, WIDTH))
    here, there = rng.standard_normal((2, WIDTH))

    def scores(interleaved):
        layout = (lambda rows: rows) if interleaved else (lambda rows: half_split(rows, HEADS))
        query, key = (
            (layout(q) @ x).reshape(HEADS, -1) for q, x in ((queries, here), (keys, there))
        )
        return [
            rotated(query[head], 7, interleaved=interleaved)
            @ rotated(key[head], 3, interleaved=interleaved)
            for head in range(HEADS)
        ]

    np.testing.assert_allclose(scores(interleaved=False), scores(interleaved=True), rtol=1e-12)
    assert not np.allclose(half_split(queries, HEADS), queries)
