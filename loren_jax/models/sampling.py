"""Which token comes next, given the logits of all.

Shape suffixes: B batch, V vocabulary.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a token is chosen; by default the likeliest.

    A draw is the likeliest token after Gumbel noise was added to the logits, so that with the same
    noise two models that differ little nearly always choose the same.

    Attributes:
      temperature: What the logits are divided by before a draw; 0 for no draw but the likeliest.
      top_k: Draw among the so many likeliest; None for all.
      top_p: Draw among the fewest tokens that have this much of the probability together; None
        for all. Of those of `top_k`, where both are given.

    >>> Sampling(top_k=5)
    Traceback (most recent call last):
    ...
    ValueError: top_k is 5, which has no effect where the likeliest token is taken: give a...
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        """Refuses what is no choice."""
        if not 0 <= self.temperature < math.inf:
            raise ValueError(
                f"temperature must be zero or more and finite, got {self.temperature}: pass a "
                "number such as 0.7."
            )
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}: leave it out for all.")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(
                f"top_p must be above 0 and at most 1, got {self.top_p}: leave it out for all."
            )
        for name in ("top_k", "top_p"):
            value = getattr(self, name)
            if value is not None and not self.drawn:
                raise ValueError(
                    f"{name} is {value}, which has no effect where the likeliest token is taken: "
                    "give a temperature above 0 too."
                )

    @property
    def drawn(self) -> bool:
        """Whether the choice depends on noise."""
        return self.temperature > 0

    def choose(
        self, logits: Float[Array, "B V"], noise: Float[Array, "B V"] | None = None
    ) -> Int[Array, " B"]:
        """The next token of every row; `noise` is standard Gumbel noise, where there is a draw."""
        if not self.drawn or noise is None:
            return jnp.argmax(logits, axis=-1)
        scaled = logits / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            scaled = _among_likeliest(scaled, jnp.ones_like(scaled), self.top_k)
        if self.top_p is not None and self.top_p < 1:
            scaled = _among_likeliest(scaled, jax.nn.softmax(scaled, axis=-1), self.top_p)
        return jnp.argmax(scaled + noise, axis=-1)


def _among_likeliest(
    logits: Float[Array, "B V"], weight: Float[Array, "B V"], wanted: float | int
) -> Float[Array, "B V"]:
    """The logits of the likeliest tokens that weigh so much together; minus infinity elsewhere.

    The least of them is found by halving the range of its bits: 32 sums, where sorting a vocabulary
    takes longer on every device. Tokens as likely as the least are all in.
    """
    order = _sortable(logits)

    def enough(bound: UInt32[Array, " B"]) -> Array:
        return jnp.sum(jnp.where(order >= bound[:, None], weight, 0), axis=-1) >= wanted

    def with_bit(i: Int[Array, ""], bound: UInt32[Array, " B"]) -> UInt32[Array, " B"]:
        higher = bound | jax.lax.shift_left(jnp.uint32(1), jnp.uint32(31) - i.astype(jnp.uint32))
        return jnp.where(enough(higher), higher, bound)

    least = jax.lax.fori_loop(0, 32, with_bit, jnp.zeros(logits.shape[0], jnp.uint32))
    return jnp.where(order >= least[:, None], logits, -jnp.inf)


def _sortable(x: Float[Array, "..."]) -> UInt32[Array, "..."]:
    """Unsigned numbers in the order of these of float32.

    >>> numbers = _sortable(jnp.array([-jnp.inf, -2.0, -1.0, 0.0, 1.0, jnp.inf]))
    >>> bool(jnp.all(jnp.diff(numbers.astype(jnp.float32)) > 0))
    True
    """
    bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    sign = np.uint32(1 << 31)
    return jnp.where(bits >= sign, ~bits, bits | sign)


GREEDY = Sampling()
"""Always the likeliest token."""
