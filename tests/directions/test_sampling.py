"""One leaf's draw: streams and layers have keys of their own."""

import jax
import numpy as np

from loren_jax import noise
from loren_jax.directions.matrices import MatrixView
from loren_jax.directions.sampling import sample


def test_left_and_right_factors_of_a_square_matrix_differ():
    direction = sample(noise.run_key(0), MatrixView((50, 50), (0,), (1,)), rank=1)
    correlation = np.corrcoef(direction.left[:, 0], direction.right[:, 0])[0, 1]
    assert abs(correlation) < 0.5


def test_jit_draws_the_same_bits():
    view = MatrixView((3, 8, 8), (1,), (2,))
    for rank in (None, 1):
        draw = lambda key: sample(key, view, rank=rank)  # noqa: B023
        eager, compiled = draw(noise.run_key(0)), jax.jit(draw)(noise.run_key(0))
        for a, b in zip(jax.tree.leaves(eager), jax.tree.leaves(compiled), strict=True):
            if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
                a, b = jax.random.key_data(a), jax.random.key_data(b)
            np.testing.assert_array_equal(a, b)
