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

from loren_jax.directions.core_subspace import CoreSubspaceState as CoreSubspaceState
from loren_jax.directions.core_subspace import core_subspace as core_subspace
from loren_jax.directions.diagonal import DiagonalState as DiagonalState
from loren_jax.directions.diagonal import diagonal as diagonal
from loren_jax.directions.isotropic import isotropic as isotropic
from loren_jax.directions.low_rank import LowRankState as LowRankState
from loren_jax.directions.low_rank import low_rank as low_rank
from loren_jax.directions.masked import resolve_mask as resolve_mask
from loren_jax.directions.matrices import MatrixView as MatrixView
from loren_jax.directions.matrices import attention_axes as attention_axes
from loren_jax.directions.rank_one import RankOneState as RankOneState
from loren_jax.directions.rank_one import rank_one as rank_one
from loren_jax.directions.smoothed import smoothed as smoothed
from loren_jax.directions.spanned import SpannedState as SpannedState
from loren_jax.directions.spanned import spanned as spanned
from loren_jax.directions.structured import Dense as Dense
from loren_jax.directions.structured import Direction as Direction
from loren_jax.directions.structured import LowRank as LowRank
from loren_jax.directions.structured import Scaled as Scaled
from loren_jax.directions.structured import Seeded as Seeded
from loren_jax.directions.structured import Zero as Zero
from loren_jax.directions.subspace import SubspaceState as SubspaceState
from loren_jax.directions.subspace import subspace as subspace
from loren_jax.directions.temporal import TemporalState as TemporalState
from loren_jax.directions.temporal import temporal as temporal
