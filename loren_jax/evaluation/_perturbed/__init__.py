"""Perturbed evaluation: a query without a perturbed copy of the parameters.

The user's own, unmodified loss is traced to a jaxpr and interpreted with perturbed leaves in place
of the weights. A low-rank direction is multiplied with the activation instead of added to the
weight; the noise of a full Gaussian one is drawn where the weight is used, one matrix at a time.
What has no rule makes its leaf dense, which is always right; `loren_jax.diagnostics.dense_leaves`
tells where.

* `leaves`: a weight and its perturbation, unsummed.
* `interpreter`: the walk over the jaxpr.
* `rules`: the table, primitive by primitive; its entries are in `contraction`, `ragged`,
  `convolution`, `indexing`, `reshaping`, `elementwise` and `control_flow`.
* `query`: the evaluation itself.
* `function`: the same of what is no loss, as of an adapted model.
"""

from loren_jax.evaluation._perturbed.query import perturbed

__all__ = ["perturbed"]
