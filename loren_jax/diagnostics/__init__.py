"""Why a run is slow, large or makes no progress.

Two questions to ask before a long run, and one that costs nothing while it goes on:

* `dense_leaves`: which weights does this loss force dense, and by which operation? Their sum with
  the perturbation then exists in memory, which is what a low-rank direction is there to avoid.
* `compare_with_gradient`: how far is the estimate from `jax.grad`, does it have a bias, and do the
  losses of a step differ by more than their own rounding?
* `VitalSigns`: do the losses of the steps so far say that this cannot work?
"""

from loren_jax.diagnostics._dense_leaves import DenseLeaf, dense_leaves
from loren_jax.diagnostics.gradient_quality import GradientQuality, compare_with_gradient
from loren_jax.diagnostics.vital_signs import Signs, VitalSigns, signs_of

__all__ = [
    "DenseLeaf", "GradientQuality", "Signs", "VitalSigns", "compare_with_gradient", "dense_leaves",
    "signs_of",
]  # fmt: skip
