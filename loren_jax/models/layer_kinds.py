"""In what the layers of one network may differ: how far they read, and how their heads turn.

The layers are scanned all the same, each with the number of its kind beside its parameters.

Shape suffixes: T tokens, L layers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from loren_jax.checkpoints import CONFIG
from loren_jax.models.rotary import Angles, Rotary, still

FULL, SLIDING = "full_attention", "sliding_attention"
"""What transformers calls layers that read all tokens, and those that read the nearest."""


class LayerKind(NamedTuple):
    """What one layer sees.

    Attributes:
      rotary: How the heads turn with the position; None where they do not.
      window: How far the layer reads, in tokens; None for everything.
    """

    rotary: Rotary | None
    window: int | None = None

    def angles(self, place: Int[Array | np.ndarray, " T"], head_size: int) -> Angles:
        """Cosine and sine of the turn of every pair of a head at every place."""
        if self.rotary is None:
            return still(place, head_size)
        return self.rotary.angles(place, head_size)


def views_of(
    kinds: Sequence[LayerKind], view: Callable[[LayerKind], tuple[Any, ...]]
) -> tuple[tuple[Any, ...], Int[np.ndarray, " L"] | None]:
    """What the layers are given, and which of it each: for `scan_layers`.

    It is the `view` of their kind where they are of one, and the numbers are None. Else all arrays
    have a leading axis of kinds.

    >>> near, far = LayerKind(None, 2), LayerKind(None, 9)
    >>> of = lambda kind: (jnp.asarray(kind.window),)
    >>> views_of([near, near], of)
    ((Array(2, dtype=int32, weak_type=True),), None)
    >>> shared, numbers = views_of([near, near, far], of)
    >>> shared[0].tolist(), numbers.tolist()
    ([2, 9], [0, 0, 1])
    """
    different = tuple(dict.fromkeys(kinds))
    views = [view(kind) for kind in different]
    if len(views) == 1:
        return views[0], None
    shared = jax.tree.map(lambda *parts: jnp.stack(parts), *views)
    return shared, np.array([different.index(kind) for kind in kinds])


def layer_types(raw: Mapping[str, Any], slides: Callable[[int], bool]) -> tuple[str, ...]:
    """The type of every layer, as a parsed `config.json` lists them or else as `slides` says.

    >>> layer_types({"num_hidden_layers": 2}, lambda layer: layer > 0)
    ('full_attention', 'sliding_attention')
    """
    types, layers = raw.get("layer_types"), raw.get("num_hidden_layers")
    if types is None:
        count = layers if isinstance(layers, int) else 0  # another is refused afterwards
        return tuple(SLIDING if slides(layer) else FULL for layer in range(count))
    if not isinstance(types, list) or not all(isinstance(kind, str) for kind in types):
        raise ValueError(f"{CONFIG}: layer_types={types!r} must be a list of texts")
    return tuple(types)


def check_layer_types(types: Sequence[str], layers: int) -> None:
    """Refuses layers of another type, and a list that is too short or too long."""
    if odd := sorted(set(types) - {FULL, SLIDING}):
        raise ValueError(f"layer_types has {odd[0]!r}; a layer must be one of {(FULL, SLIDING)}")
    if len(types) != layers:
        raise ValueError(
            f"layer_types has {len(types)} entries; they must be num_hidden_layers={layers}"
        )
