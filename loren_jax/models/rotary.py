"""Rotary position embedding: each half-split pair of a head's entries turns with the position.

Shape suffixes: B batch, T tokens, N heads, H head size, F = H / 2 pairs of a head.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

Angles = tuple[Float[Array, "T F"], Float[Array, "T F"]]

NEEDED = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
}
"""The kinds, and what a file must say of each."""


@dataclass(frozen=True, kw_only=True)
class Rotary:
    """How fast the pairs of a head turn.

    Attributes:
      theta: The base: pair i of a head of H entries turns by `theta ** (-2 i / H)` a token.
      kind: `default`; `linear`, all slower by `factor`; or `llama3` and `yarn`, the
        slow ones slower by `factor`, the fast ones as they were and those between
        interpolated, by their turns or by their numbers.
      factor: By how much longer texts are to be read than those of the first training.
      low_freq_factor: A pair is slow that turns fewer times than this in `original_length`.
      high_freq_factor: A pair is fast that turns more often than this in `original_length`.
      original_length: Length of the texts of the first training, in tokens.
      beta_fast: `high_freq_factor` of `yarn`.
      beta_slow: `low_freq_factor` of `yarn`.
      attention_factor: What `yarn` multiplies queries and keys with.
    """

    theta: float = 10000.0
    kind: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_length: int = 8192
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float = 1.0

    def __post_init__(self) -> None:
        """Refuses what `frequencies` does not compute."""
        if self.kind not in NEEDED:
            raise ValueError(
                f"rope_type={self.kind!r} is not supported; use one of {tuple(NEEDED)}"
            )
        if min(self.theta, self.factor) <= 0 or self.original_length < 1:
            raise ValueError(
                f"rope_theta={self.theta}, factor={self.factor} and "
                f"original_max_position_embeddings={self.original_length} must be positive"
            )
        if self.high_freq_factor <= self.low_freq_factor:
            raise ValueError(
                f"high_freq_factor={self.high_freq_factor} must exceed "
                f"low_freq_factor={self.low_freq_factor}"
            )

    @classmethod
    def from_hugging_face(cls, raw: Mapping[str, Any], *, theta: float = 10000.0) -> "Rotary":
        """Reads a parsed `config.json`, as transformers 4 and as transformers 5 writes it.

        The base is `theta` where the file says none. Another kind, a missing number and heads that
        turn in part are a `ValueError`.

        >>> Rotary.from_hugging_face({"rope_theta": 500000.0}).theta
        500000.0
        >>> Rotary.from_hugging_face({"rope_parameters": {"rope_type": "longrope"}})
        Traceback (most recent call last):
        ...
        ValueError: rope_type='longrope' is not supported; use one of ('default', ...)
        """
        said = dict(raw.get("rope_scaling") or raw.get("rope_parameters") or {})
        kind = said.get("rope_type") or said.get("type") or "default"
        theta = said.get("rope_theta") or raw.get("rope_theta") or theta
        part = said.get("partial_rotary_factor") or raw.get("partial_rotary_factor") or 1.0
        if part != 1.0:
            raise ValueError(
                f"partial_rotary_factor={part} is not supported; use a checkpoint with 1.0"
            )
        needed = NEEDED.get(kind, ())
        if missing := [name for name in needed if name not in said]:
            raise ValueError(f"rope_type={kind!r}: rope_parameters or rope_scaling lacks {missing}")
        options = {name: said[name] for name in needed}
        if kind in ("llama3", "yarn"):
            length = said.get("original_max_position_embeddings")
            options["original_length"] = length or raw.get("max_position_embeddings", 2048)
        if kind == "yarn":
            options |= _yarn_options(said)
        return cls(theta=theta, kind=kind, **options)

    @classmethod
    def of_layers(
        cls,
        raw: Mapping[str, Any],
        layer_type: str,
        *,
        base: str,
        theta: float,
        scaled: bool = True,
    ) -> "Rotary":
        """Reads what a parsed `config.json` says of the layers of one type.

        transformers 4 has an entry `base` for their base, and its scaling may be of other layers;
        transformers 5 has all in `rope_parameters` of that type.

        >>> raw = {"rope_parameters": {"full_attention": {"rope_theta": 100.0}}, "local": 10.0}
        >>> of = lambda kind: Rotary.of_layers(raw, kind, base="local", theta=1.0).theta
        >>> of("full_attention"), of("sliding_attention")
        (100.0, 10.0)
        """
        own = (raw.get("rope_parameters") or {}).get(layer_type) or {}
        scaling = (raw.get("rope_scaling") or {}) if scaled else {}
        said = {"rope_parameters": {**own, **scaling}, "rope_theta": raw.get(base)}
        return cls.from_hugging_face({**raw, "rope_scaling": None, **said}, theta=theta)

    def frequencies(self, head_size: int) -> Float[np.ndarray, " F"]:
        """Radians that each pair turns a token, float32, the fastest pair first.

        >>> Rotary(theta=100.0).frequencies(4).tolist()
        [1.0, 0.10000000149011612]
        """
        if head_size % 2:
            raise ValueError(f"head_dim={head_size} must be even")
        frequency = self.theta ** -(np.arange(0, head_size, 2) / head_size)
        if self.kind == "linear":
            frequency = frequency / self.factor
        if self.kind == "yarn":
            slowed = self._slowing(head_size)
            frequency = (1 - slowed) * frequency + slowed * frequency / self.factor
        if self.kind == "llama3":
            turns = self.original_length * frequency / (2 * math.pi)
            span = self.high_freq_factor - self.low_freq_factor
            kept = np.clip((turns - self.low_freq_factor) / span, 0, 1)
            frequency = kept * frequency + (1 - kept) * frequency / self.factor
        return frequency.astype(np.float32)

    def angles(self, position: Int[Array | np.ndarray, " T"], head_size: int) -> Angles:
        """Cosine and sine of the turn of every pair at every position, float32.

        Computed where they are needed: a program holds T F numbers of each, the parameters none.
        """
        turned = jnp.asarray(position, jnp.float32)[:, None] * self.frequencies(head_size)[None, :]
        cosine, sine = jnp.cos(turned), jnp.sin(turned)
        if self.attention_factor != 1:
            return cosine * self.attention_factor, sine * self.attention_factor
        return cosine, sine

    def _slowing(self, head_size: int) -> Float[np.ndarray, " F"]:
        """By how much YaRN slows each pair: 0 for not at all, 1 for the whole factor."""
        pair = lambda turns: (
            head_size
            * math.log(self.original_length / (turns * 2 * math.pi))
            / (2 * math.log(self.theta))
        )
        first = max(math.floor(pair(self.beta_fast)), 0)
        last = min(math.ceil(pair(self.beta_slow)), head_size - 1)
        span = last - first or 0.001
        return np.clip((np.arange(head_size // 2) - first) / span, 0, 1)


def _yarn_options(said: Mapping[str, Any]) -> dict[str, float]:
    """What a file says of YaRN beside the factor; its heads are scaled as the paper suggests."""
    for name, only in (("mscale", None), ("mscale_all_dim", None), ("truncate", True)):
        if said.get(name, only) not in (only, None):
            raise ValueError(
                f"{name}={said[name]!r} is not supported; use a checkpoint with {name}={only!r}"
            )
    own = 1.0 if said["factor"] <= 1 else 0.1 * math.log(said["factor"]) + 1.0
    return {
        "beta_fast": said.get("beta_fast") or 32.0,
        "beta_slow": said.get("beta_slow") or 1.0,
        "attention_factor": said.get("attention_factor") or own,
    }


PLAIN = Rotary()
"""The rotary embedding of a file that says nothing of it."""


def still(position: Int[Array | np.ndarray, " T"], head_size: int) -> Angles:
    """The angles that turn nothing, float32.

    >>> [part.tolist() for part in still(np.arange(2), 2)]
    [[[1.0], [1.0]], [[0.0], [0.0]]]
    """
    shape = (*position.shape, head_size // 2)
    return jnp.ones(shape, jnp.float32), jnp.zeros(shape, jnp.float32)


def rotate(x: Float[Array, "B T ND"], angles: Angles) -> Float[Array, "B T ND"]:
    """Turns queries or keys: N heads of H entries a token, of which i and i + H / 2 are a pair.

    The turn is computed in their dtype, as transformers does.
    """
    cosine, sine = (part.astype(x.dtype)[None, :, None, :] for part in angles)
    pairs = x.reshape(*x.shape[:2], -1, 2, cosine.shape[-1])
    first, second = pairs[..., 0, :], pairs[..., 1, :]
    turned = jnp.stack([first * cosine - second * sine, second * cosine + first * sine], axis=-2)
    return turned.reshape(x.shape)
