"""How queries run on the hardware. It never changes the result.

* `perturbed`: the loss is interpreted with perturbed leaves; no perturbed weight is built. The
  default.
* `materialised`: on perturbed copies of the parameters; the oracle.
* `sharded`: on many devices, which exchange a few scalars.

`queries` runs all queries of a step in chunks, whatever evaluates one of them.
"""

from loren_jax.evaluation._materialised import materialised
from loren_jax.evaluation._perturbed import perturbed
from loren_jax.evaluation._sharded import Sharded, sharded
from loren_jax.evaluation.queries import evaluate_queries

__all__ = ["Sharded", "evaluate_queries", "materialised", "perturbed", "sharded"]
