"""What is trained, and how, where nothing is said: the classification head, with what suits it.

64 directions at once cost one pass of the frozen encoder a step. The run itself finds how long its
steps may be, `loren_jax.automatic`; the rate for other schedules is MiniLM's best on reviews.
"""

import shlex
from collections.abc import Mapping
from typing import Any

from loren_jax.objectives.adapters import HEAD

HEAD_RECIPE: Mapping[str, Any] = {
    "trainable": (HEAD,),
    "eval_every": 25,
    "num_directions": 64,
    "perturbation_scale": 0.01,
}
"""The recipe, by option of `loren`."""

HEAD_RATE = 0.4
"""With it, where a schedule is asked for that needs one."""


def typed(options: Mapping[str, Any]) -> str:
    """Options as one would type them.

    >>> typed({"trainable": ("head",), "eval_every": 25})
    '--trainable head --eval-every 25'
    """

    def option(name: str, value: object) -> str:
        words = value if isinstance(value, tuple) else (value,)
        return " ".join([f"--{name.replace('_', '-')}", *map(shlex.quote, map(str, words))])

    return " ".join(option(name, value) for name, value in options.items())
