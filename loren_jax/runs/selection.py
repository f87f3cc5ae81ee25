"""Which of a run's parameters are kept: those with the best score on a split made for that.

The best ones are a copy, because the next step overwrites what it is given: one copy of the trained
parameters, and of nothing that is frozen.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from loren_jax.noise import leaf_paths
from loren_jax.types import PyTree


class Best(NamedTuple):
    """The best evaluation so far: steps before it, scores, and the trained leaves by path."""

    step: int
    scores: dict[str, Any]
    leaves: dict[str, Any]


class Selection:
    """Keeps the parameters of the best evaluation, and says when to stop.

    Better is a higher score, or the same one with a lower `loss`: on few examples many evaluations
    have the same accuracy.

    Args:
      score: Name of the score whose highest value is the best; with a minus sign in front, as in
        `-loss`, whose lowest.
      mask: Which parameters are trained, by their path.
      patience: Evaluations in a row without a better one after which to stop; None for never.

    Attributes:
      best: The best evaluation; None before the first.
    """

    def __init__(self, score: str, mask: Callable[[str], bool], patience: int | None = None):
        self._score, self._mask, self._patience = score, mask, patience
        self._without_improvement = 0
        self.best: Best | None = None

    @property
    def exhausted(self) -> bool:
        """Whether there were `patience` evaluations in a row without a better one."""
        return self._patience is not None and self._without_improvement >= self._patience

    def consider(self, step: int, params: PyTree, scores: dict[str, Any]) -> bool:
        """Keeps a copy of the trained parameters if their score is the best, and says whether.

        `step` is the number of steps taken. A ValueError if the score that selects is not there.
        """
        if self.best is not None and self._rank(scores) <= self._rank(self.best.scores):
            self._without_improvement += 1
            return False
        self._rank(scores)
        self._without_improvement = 0
        self.best = Best(step, scores, chosen_leaves(params, self._mask, copied=True))
        return True

    def restore(self, params: PyTree) -> PyTree:
        """The parameters of the best evaluation; as they are if nothing was ever evaluated."""
        return params if self.best is None else with_leaves(params, self.best.leaves)

    def facts(self) -> dict[str, Any]:
        """What a checkpoint must know beside the best leaves, as JSON values."""
        best = None if self.best is None else [self.best.step, self.best.scores]
        counted = {"without_improvement": self._without_improvement}
        return {"score": self._score, **counted, "best": best}

    def go_on(self, facts: Mapping[str, Any], leaves: dict[str, Any]) -> None:
        """Takes up what `facts` gave, and the leaves that lay beside it."""
        self._without_improvement, best = facts["without_improvement"], facts["best"]
        self.best = None if best is None else Best(best[0], best[1], leaves)

    def _rank(self, scores: Mapping[str, Any]) -> tuple[float, float]:
        name = self._score.removeprefix("-")
        if name not in scores:
            raise ValueError(
                f"select is {self._score!r}, but evaluate gives {', '.join(scores)}: name one of "
                "them, with a minus sign where the lowest is the best"
            )
        value = -scores[name] if name != self._score else scores[name]
        known = lambda x: x if x == x else float("-inf")  # NaN ranks last
        return known(value), known(-scores.get("loss", 0.0))


def chosen_leaves(
    params: PyTree, mask: Callable[[str], bool], *, copied: bool = False
) -> dict[str, Any]:
    """The leaves that a mask of their paths chooses, by path; copies that outlive a step."""
    pairs = zip(leaf_paths(params), jax.tree.leaves(params), strict=True)
    return {path: leaf.copy() if copied else leaf for path, leaf in pairs if mask(path)}


def with_leaves(params: PyTree, leaves: Mapping[str, Any]) -> PyTree:
    """The parameters with some leaves, found by their paths, in the place of their own."""
    own, structure = jax.tree.flatten(params)
    pairs = zip(leaf_paths(params), own, strict=True)
    return structure.unflatten([leaves.get(path, leaf) for path, leaf in pairs])
