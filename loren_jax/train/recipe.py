"""What is trained, and how, where nothing is said: the classification head, with what suits it.

The numbers are README's for MiniLM on SST-2 and on reviews: 64 directions at once cost one pass of
the frozen encoder a step, and the rate is the largest that was stable for so many.
"""

import shlex
from typing import Any

from loren_jax.objectives.adapters import HEAD
from loren_jax.train.config import TrainConfig
from loren_jax.train.methods import OPTIONS

_METHOD: dict[str, Any] = {"learning_rate": 0.4, "num_directions": 64, "perturbation_scale": 0.01}
_RUN: dict[str, Any] = {"trainable": (HEAD,), "schedule": "linear", "eval_every": 25}


def head_recipe() -> TrainConfig[Any]:
    """The recipe as a configuration.

    Example:
        >>> head_recipe().trainable, head_recipe().optimizer.learning_rate
        (('head',), 0.4)
    """
    return TrainConfig(optimizer=OPTIONS["loren"](**_METHOD), **_RUN)


def _option(name: str, value: Any) -> str:
    words = value if isinstance(value, tuple) else (value,)
    return " ".join([f"--{name.replace('_', '-')}", *(shlex.quote(str(word)) for word in words)])


RECIPE = " ".join(_option(name, value) for name, value in (_RUN | _METHOD).items())
"""The recipe as one would type it."""
