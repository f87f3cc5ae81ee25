"""How queries run on the hardware. It never changes the result.

* `perturbed`: the loss is interpreted with perturbed leaves; no perturbed weight is built. The
  default.
* `materialised`: on perturbed copies of the parameters; the oracle.
* `sharded`: on many devices, which exchange a few scalars.

`outside` makes a loss of a Python function, `micro_batched` that of a large batch out of small
ones, inside a query. `queries` runs all queries of a step in chunks, whatever evaluates one of
them. `input_factors` are the directions along which the inputs of each matrix vary.
"""

from loren_jax.evaluation.inputs import input_factors as input_factors
from loren_jax.evaluation.materialised import materialised as materialised
from loren_jax.evaluation.micro_batches import micro_batched as micro_batched
from loren_jax.evaluation.outside import outside as outside
from loren_jax.evaluation.perturbed import perturbed as perturbed
from loren_jax.evaluation.queries import evaluate_queries as evaluate_queries
from loren_jax.evaluation.sharded import sharded as sharded
