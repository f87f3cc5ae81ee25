"""The kinds of directions: `Zero`, `Dense`, `LowRank`, `Seeded` and `Scaled`.

A direction is the perturbation of one leaf for one query. It is a pytree; those arrays of it that
differ from query to query carry a leading axis of K queries when K are drawn, what all share has
none. `to_dense` is for one query, `combine` for K.

`combine(slope, score, covariance, into)` is the update side of every kind: it returns
`sum_k slope_k y_k`, float32, and `sum_k score_k d/da log p(y_k)` where the direction has a learned
covariance. Both come from one pass, because a seeded direction has to be drawn anew for it. With
`into`, an array like the leaf, the first sum is added to it, in its dtype and piece by piece, so
that a donated array is changed in place and little is held beside it.

`squares(score)` is what a diagonal learns from: `sum_k score_k y_k^2`, entry by entry.
"""

from loren_jax.directions.structured.dense import Dense as Dense
from loren_jax.directions.structured.dense import Zero as Zero
from loren_jax.directions.structured.low_rank import LowRank as LowRank
from loren_jax.directions.structured.scaled import Scaled as Scaled
from loren_jax.directions.structured.seeded import Seeded as Seeded
