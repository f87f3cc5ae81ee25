"""Matrices of 8 or 4 bits a number, which become floats one at a time, where they are multiplied.

`quantise` makes one of floats. A model of one's own calls its `product` and `look_up`; `lora`
adapts it, `trained(optimizer, mask)` trains its scales. The networks of `loren_jax.models` take
them as they are: see `loren_jax.models.Storage`.
"""

from loren_jax.quantised.absmax import quantise
from loren_jax.quantised.matrix import Quantised, as_dense, as_shapes, is_quantised

__all__ = ["Quantised", "as_dense", "as_shapes", "is_quantised", "quantise"]
