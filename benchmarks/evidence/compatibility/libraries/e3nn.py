"""Equivariant layers: e3nn."""

import e3nn_jax
import e3nn_jax.flax
import jax

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import mean_square

cases = Cases("e3nn-jax")


@cases
def linear():
    """Linear, tensor_product."""
    layer, key = e3nn_jax.flax.Linear("4x0e+2x1o"), jax.random.key(0)
    x = e3nn_jax.normal("3x0e+2x1o", key, (5,))
    product = lambda p: e3nn_jax.tensor_product(layer.apply(p, x), x)
    return layer.init(key, x), lambda p: mean_square(product(p).array)
