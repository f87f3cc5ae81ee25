"""What is trained, and how, where nothing is said: the classification head, with what suits it.

The numbers are README's for MiniLM on SST-2 and on reviews: 64 directions at once cost one pass of
the frozen encoder a step, and the rate is the largest that was stable for so many.
"""

import shlex
from collections.abc import Mapping
from typing import Any

from loren_jax.objectives.adapters import HEAD

HEAD_RECIPE: Mapping[str, Any] = {
    "trainable": (HEAD,),
    "schedule": "linear",
    "eval_every": 25,
    "learning_rate": 0.4,
    "num_directions": 64,
    "perturbation_scale": 0.01,
}
"""The recipe, by option of `loren`."""


def _option(name: str, value: Any) -> str:
    words = value if isinstance(value, tuple) else (value,)
    return " ".join([f"--{name.replace('_', '-')}", *(shlex.quote(str(word)) for word in words)])


RECIPE = " ".join(_option(name, value) for name, value in HEAD_RECIPE.items())
"""The recipe as one would type it."""
