"""Evaluation on many devices, which exchange nothing but losses.

Whoever knows the key and the losses can make the update, so a step has no gradient to exchange.
JAX's own runtime does the rest, along up to three kinds of mesh axes:

* population: each group of devices evaluates its share of the K directions; all make the same
  update.
* data: each device holds a part of the batch. A loss that is a mean over it is a sum of scalars.
* model: each holds a part of the weights, and draws the part of the noise that belongs to them.

The parts:

* `spread`: the evaluation, and placing what a step takes.
* `layout`: where the arrays of a step lie while it is traced.
* `automatic`: steps on meshes with explicit axis types.
"""

from loren_jax.evaluation._sharded._automatic import automatic
from loren_jax.evaluation._sharded.layout import layout_of
from loren_jax.evaluation._sharded.spread import Sharded, sharded

__all__ = ["Sharded", "automatic", "layout_of", "sharded"]
