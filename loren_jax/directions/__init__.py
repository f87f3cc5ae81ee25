"""Distributions of perturbations, one file each, and the combinators that restrict them.

* `isotropic`: standard normal, full or rank r.
* `rank_one`: a learned, damped rank-one covariance on the fan-in side.
* `blockwise`: any distribution without state, on one block of leaves at a time.
* `masked`: any of these on some leaves only.

`structured` holds the kinds of direction a draw is made of, `matrices` how a leaf is read as
matrices, `sampling` the draw of one leaf.
"""

from loren_jax.directions.blockwise import blockwise as blockwise
from loren_jax.directions.isotropic import isotropic as isotropic
from loren_jax.directions.masked import masked as masked
from loren_jax.directions.masked import resolve_mask as resolve_mask
from loren_jax.directions.matrices import MatrixView as MatrixView
from loren_jax.directions.rank_one import RankOneState as RankOneState
from loren_jax.directions.rank_one import rank_one as rank_one
from loren_jax.directions.structured import Dense as Dense
from loren_jax.directions.structured import LowRank as LowRank
from loren_jax.directions.structured import Scaled as Scaled
from loren_jax.directions.structured import Seeded as Seeded
from loren_jax.directions.structured import Zero as Zero
