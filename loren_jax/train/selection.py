"""Which of a run's parameters are kept: those with the best score on a split made for that.

The best ones are a copy, because the next step overwrites what it is given: one copy of the trained
parameters, and of nothing that is frozen.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from loren_jax.noise import leaf_paths
from loren_jax.train.scoring import Score
from loren_jax.train.tally import score_from_json, score_json
from loren_jax.types import PyTree


class Selected(NamedTuple):
    """The best evaluation so far.

    Attributes:
        step: Steps taken before it.
        score: The score.
        leaves: The trained parameters at that time, by path.
    """

    step: int
    score: Score
    leaves: dict[str, Any]


class Selection:
    """Keeps the parameters of the best evaluation, and says when to stop.

    Better is a higher metric, or the same one with a lower loss: on few examples many evaluations
    have the same accuracy.

    Args:
        metric: Name of the metric, a key of `loren_jax.tasks.METRICS`.
        mask: Which parameters are trained, by their path.
        patience: Evaluations in a row without a better one after which to stop; None for never.

    Attributes:
        best: The best evaluation; None before the first.
    """

    def __init__(self, metric: str, mask: Callable[[str], bool], patience: int | None = None):
        self._metric, self._mask, self._patience = metric, mask, patience
        self._without_improvement = 0
        self.best: Selected | None = None

    @property
    def exhausted(self) -> bool:
        """Whether there were `patience` evaluations in a row without a better one."""
        return self._patience is not None and self._without_improvement >= self._patience

    def consider(self, step: int, params: PyTree, score: Score) -> bool:
        """Keeps a copy of the trained parameters if their score is the best.

        Args:
            step: Steps taken.
            params: The parameters.
            score: Their score.

        Returns:
            Whether it is the best so far.
        """
        if self.best is not None and self._rank(score) <= self._rank(self.best.score):
            self._without_improvement += 1
            return False
        self._without_improvement = 0
        leaves = zip(leaf_paths(params), jax.tree.leaves(params), strict=True)
        kept = {path: leaf.copy() for path, leaf in leaves if self._mask(path)}
        self.best = Selected(step, score, kept)
        return True

    def restore(self, params: PyTree) -> PyTree:
        """Puts the best trained parameters in the place of others.

        Args:
            params: The parameters of any step; as they are if nothing was ever evaluated.

        Returns:
            The parameters of the best evaluation.
        """
        if self.best is None:
            return params
        leaves, structure = jax.tree.flatten(params)
        pairs = zip(leaf_paths(params), leaves, strict=True)
        best = self.best.leaves
        return jax.tree.unflatten(structure, [best.get(path, leaf) for path, leaf in pairs])

    def so_far(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a keyframe must know: JSON values, and the best leaves by path."""
        facts: dict[str, Any] = {"without_improvement": self._without_improvement, "best": None}
        if self.best is None:
            return facts, {}
        facts["best"] = {"step": self.best.step, "score": score_json(self.best.score)}
        return facts, self.best.leaves

    def go_on(self, facts: dict[str, Any], leaves: dict[str, Any]) -> None:
        """Takes up what `so_far` gave."""
        self._without_improvement, best = facts["without_improvement"], facts["best"]
        score = None if best is None else score_from_json(best["score"])
        self.best = None if score is None else Selected(best["step"], score, leaves)

    def _rank(self, score: Score) -> tuple[float, float]:
        loss = score.loss if score.loss == score.loss else float("inf")  # NaN ranks last
        return score.metric(self._metric), -loss
