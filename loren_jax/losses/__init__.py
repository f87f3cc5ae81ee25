"""What is asked of the parameters: losses, however they are computed.

* `micro_batched`: that of a large batch, out of small ones inside a query.
* `outside`: a Python function on the host.

`loss_function` says what a loss may return.
"""

from loren_jax.losses._outside import outside
from loren_jax.losses.micro_batches import micro_batched

__all__ = ["micro_batched", "outside"]
