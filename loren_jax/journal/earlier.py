"""Descriptions as earlier versions wrote them, in the words of this one.

A description names all of a method's knobs, so that no journal changes with a default. Those of
version 0.1.0 could leave out what had not been given: `DEFAULTS` has what that meant.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from loren_jax import optimizers
from loren_jax.journal.records import JournalError

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "loren": {"rank": None, "momentum": 0.9},
    "mezo": {"rank": None},
    "mezo_adam": {"rank": None},
    "mezo_svrg": {"rank": None},
    "mezo_bcd": {"rank": None},
    "r_adazo": {"rank": None},
    "kerzoo": {"rank": None},
}
"""By method, the defaults of version 0.1.0 that are others now, or may become so. A default that
changes from now on needs a line here; what was written since names all knobs."""

METHODS: Mapping[str, Callable[..., Any]] = {
    "loren, isotropic": partial(optimizers.input_subspace, factors={}),
}
"""Methods that only earlier versions had under a name, made of what there is now."""


def translate(
    name: str, knobs: Mapping[str, Any], *, factors: bool = False
) -> tuple[str, dict[str, Any]]:
    """A method and its knobs as they are called now; what is up to date comes out as it was.

    Args:
      name: of the method; afterwards one in `loren_jax.optimizers.METHODS` or `METHODS`.
      knobs: its keyword arguments, as JSON values.
      factors: whether its directions lie along given fan-in vectors, whatever its covariance is.

    Raises:
      JournalError: the method is gone.

    >>> translate("loren", {"learning_rate": 0.1, "covariance": "learned", "momentum": None})
    ('loren', {'learning_rate': 0.1, 'momentum': None, 'rank': None})
    """
    knobs = dict(knobs) | {n: v for n, v in DEFAULTS.get(name, {}).items() if n not in knobs}
    if name != "loren":
        return name, knobs
    covariance, structure = knobs.pop("covariance", "learned"), knobs.pop("structure", "block")
    if factors or covariance == "isotropic":
        plain = set(knobs) - {"damping", "covariance_learning_rate"}
        name = "input_subspace" if factors else "loren, isotropic"
        return name, {n: v for n, v in knobs.items() if n in plain}
    if structure == "tiled":
        raise JournalError(
            'its covariance is "tiled", which left loren after version 0.1.0: replay it with that '
            "version, or pass optimizer=, made of benchmarks/evidence/tiled.py"
        )
    if covariance == "frozen":
        knobs["covariance_learning_rate"] = 0.0
    return name, knobs
