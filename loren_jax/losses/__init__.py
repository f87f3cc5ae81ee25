"""What is asked of the parameters: losses, however they are computed.

* `micro_batched`: that of a large batch, out of small ones inside a query.
* `per_example`: each row of a batch along a direction of its own.
* `outside`: a Python function on the host.
* `fitness`: what the answers of all queries are worth, compared prompt by prompt.

`loss_function` says what a loss may return.
"""

from loren_jax.losses._fitness import Fitness, fitness
from loren_jax.losses._outside import outside
from loren_jax.losses._per_example import per_example
from loren_jax.losses.micro_batches import micro_batched

__all__ = ["Fitness", "fitness", "micro_batched", "outside", "per_example"]
