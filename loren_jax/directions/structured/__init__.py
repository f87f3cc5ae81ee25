"""The kinds of directions: `Zero`, `Dense`, `LowRank`, `Seeded`, `Signed` and `Scaled`.

A kind of your own is a subclass of `Direction` with `view` and `to_dense`; it works everywhere
before it is fast.
"""

from loren_jax.directions.structured.dense import Dense, Zero
from loren_jax.directions.structured.direction import Direction
from loren_jax.directions.structured.low_rank import LowRank
from loren_jax.directions.structured.scaled import Scaled
from loren_jax.directions.structured.seeded import Seeded, Signed

__all__ = ["Dense", "Direction", "LowRank", "Scaled", "Seeded", "Signed", "Zero"]
