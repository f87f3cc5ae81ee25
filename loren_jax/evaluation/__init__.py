"""How queries run on the hardware. It never changes the result.

* `perturbed`: the loss is interpreted with perturbed leaves; no perturbed weight is built. The
  default.
* `materialised`: on perturbed copies of the parameters; the oracle.
* `sharded`: on many devices, which exchange a few scalars.

`queries` runs all queries of a step in chunks, whatever evaluates one of them.
"""

from loren_jax.evaluation.materialised import materialised as materialised
from loren_jax.evaluation.perturbed import perturbed as perturbed
from loren_jax.evaluation.queries import evaluate_queries as evaluate_queries
from loren_jax.evaluation.sharded import sharded as sharded
