"""The kinds of directions: `Zero`, `Dense`, `LowRank`, `Seeded` and `Scaled`.

A kind of your own is a subclass of `Direction` with `view` and `to_dense`; it works everywhere
before it is fast.
"""

from loren_jax.directions.structured.dense import Dense as Dense
from loren_jax.directions.structured.dense import Zero as Zero
from loren_jax.directions.structured.direction import Direction as Direction
from loren_jax.directions.structured.low_rank import LowRank as LowRank
from loren_jax.directions.structured.scaled import Scaled as Scaled
from loren_jax.directions.structured.seeded import Seeded as Seeded
