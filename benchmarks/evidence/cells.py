"""The points of `ablations.py`: covariance x momentum x scheme x directions x forward passes."""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import loren_jax
from benchmarks.evidence.methods import Method
from benchmarks.evidence.tiled import tiled
from loren_jax import directions, schemes
from loren_jax.journal.earlier import DEFAULTS
from loren_jax.transforms import chain, descend

SCHEMES = {
    "leave-one-out": (schemes.leave_one_out, lambda passes: passes),
    "two-sided pairs": (schemes.two_sided, lambda passes: passes // 2),
    "one-sided with centre": (schemes.one_sided, lambda passes: passes - 1),
}
RANKS = {"Gaussian": None, "rank 1": 1, "rank 8": 8}


class Cell(NamedTuple):
    """A point of the design; `rate` is the covariance's learning rate."""

    covariance: str = "isotropic"
    momentum: float = 0.0
    scheme: str = "leave-one-out"
    directions: str = "Gaussian"
    passes: int = 6
    rate: float = 1e-3

    def method(self) -> Method:
        """The optimiser; it is given the effective rate."""
        scheme, number = SCHEMES[self.scheme]

        def make(effective: Any, key: Any) -> Any:
            estimator = loren_jax.estimate(
                self._directions(),
                scheme(),
                num_directions=number(self.passes),
                perturbation_scale=1e-3,
                key=key,
            )
            momentum = self.momentum or None
            return chain(estimator, descend(effective * (1 - self.momentum), momentum=momentum))

        return Method(make, lambda step: self.passes)

    def _directions(self) -> Any:
        rank = RANKS[self.directions]
        if self.covariance == "isotropic":
            return directions.isotropic(rank)
        return directions.rank_one(0.1, self.rate if self.covariance == "learned" else 0.0, rank)


ABLATED = {
    "frozen": lambda: directions.rank_one(covariance_learning_rate=0.0),
    "isotropic": directions.isotropic,
    "tiled": tiled,
}
"""In place of LOREN's directions: a covariance that stays at its random start, none, and one
rank-one term for a whole matrix, as in the official code."""


def ablated(covariance: str) -> Method:
    """LOREN as of version 0.1.0, but for one of `ABLATED`; it is given the learning rate."""
    momentum = DEFAULTS["loren"]["momentum"]

    def make(rate: Any, key: Any) -> Any:
        scheme = schemes.leave_one_out()
        estimator = loren_jax.estimate(ABLATED[covariance](), scheme, num_directions=6, key=key)
        return chain(estimator, descend(rate, momentum=momentum))

    return Method(make, lambda step: 6)


def groups() -> Iterator[Cell]:
    """The cells that answer the questions one by one."""
    for covariance, momentum in itertools.product(("isotropic", "frozen", "learned"), (0.0, 0.9)):
        yield Cell(covariance, momentum)
    for scheme, passes in itertools.product(SCHEMES, (6, 2, 16)):
        yield Cell(scheme=scheme, passes=passes)
    for scheme, kind in itertools.product(("leave-one-out", "two-sided pairs"), RANKS):
        yield Cell(scheme=scheme, directions=kind)
    for rate in (1e-1, 10.0):
        yield Cell("learned", rate=rate)
    for scheme in SCHEMES:
        yield Cell("learned", scheme=scheme)
    for covariance, passes in itertools.product(("frozen", "learned"), (2, 16)):
        yield Cell(covariance, passes=passes)
    for kind in ("rank 1", "rank 8"):
        yield Cell("learned", directions=kind)


def every_cell() -> Iterator[Cell]:
    """All points."""
    covariances = ("isotropic", "frozen", "learned")
    for point in itertools.product(covariances, (0.0, 0.9), SCHEMES, RANKS, (2, 6, 16)):
        yield Cell(*point)
