"""Distributions of perturbations, one file each, and what changes them.

* `isotropic`: standard normal, full or rank r.
* `rank_one`: a learned, damped rank-one covariance on the fan-in side.
* `spanned`: along given fan-in vectors, such as those of the inputs.
* `diagonal`: a learned diagonal covariance.
* `low_rank`, `subspace`, `core_subspace`, `temporal`: low
  rank, with bases that are kept for many steps.
* `smoothed`: any of these at a random distance, weighed by a kernel.

`structured` holds the kinds of direction a draw is made of, `matrices` how a leaf is read as
matrices, `sampling` the draw of one leaf.
"""

from loren_jax.directions._core_subspace import CoreSubspaceState, core_subspace
from loren_jax.directions._diagonal import DiagonalState, diagonal
from loren_jax.directions._isotropic import isotropic
from loren_jax.directions._low_rank import LowRankState, low_rank
from loren_jax.directions._rank_one import RankOneState, rank_one
from loren_jax.directions._smoothed import smoothed
from loren_jax.directions._spanned import SpannedState, spanned
from loren_jax.directions._subspace import SubspaceState, subspace
from loren_jax.directions._temporal import TemporalState, temporal
from loren_jax.directions.masked import resolve_mask
from loren_jax.directions.matrices import MatrixView, attention_axes
from loren_jax.directions.structured import Dense, Direction, LowRank, Scaled, Seeded, Signed, Zero

__all__ = [
    "CoreSubspaceState", "Dense", "DiagonalState", "Direction", "LowRank", "LowRankState",
    "MatrixView", "RankOneState", "Scaled", "Seeded", "Signed", "SpannedState", "SubspaceState",
    "TemporalState", "Zero", "attention_axes", "core_subspace", "diagonal", "isotropic",
    "low_rank", "rank_one", "resolve_mask", "smoothed", "spanned", "subspace", "temporal",
]  # fmt: skip
