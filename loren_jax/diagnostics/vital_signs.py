"""What the losses of a run's steps say of it, in plain words where it cannot work.

They are there anyway, so that nothing is computed but a few means on the host.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from loren_jax import arguments

_WINDOW = 20
"""Steps whose median is taken: the losses of one step are few, and its batch is small."""

_ROUNDINGS = 4.0
"""Spacings of float32 below which a spread is made of the rounding of the forward pass itself."""

_START = 5
"""Steps whose losses count as those of the start: a rate that is far too large needs no more."""

_NOTHING = 1e-3
"""Share of the loss below which nobody would call it a fall."""


class Signs(NamedTuple):
    """What the losses of one step say.

    Attributes:
      mean: of the finite losses; NaN without any.
      spread: their standard deviation over the directions, averaged over the points of the scheme.
      rounding: distance of neighbouring float32 numbers at the mean. A spread that is not many
        times larger is made of rounding.
      slope: spread over the perturbation scale, about the gradient's length.
      nonfinite: how many losses were not finite.
    """

    mean: float
    spread: float
    rounding: float
    slope: float
    nonfinite: int


def signs_of(losses: ArrayLike | Sequence[Any], perturbation_scale: float) -> Signs:
    """What the losses of one step say.

    Args:
      losses: of one step, `(K, S)`, or flat for one point a direction.
      perturbation_scale: with which they were taken.

    Returns:
      Mean, spread, slope and how many were not finite, of the finite losses.

    >>> signs = signs_of([[0.5, 0.7], [0.7, 0.5]], 0.1)
    >>> round(signs.mean, 3), round(signs.spread, 3), round(signs.slope, 3), signs.nonfinite
    (0.6, 0.1, 1.0, 0)
    """
    losses = np.asarray(losses, np.float64)
    # Of one direction its points differ, of several the directions do.
    rows = losses.reshape(len(losses), -1) if len(losses) > 1 else losses.reshape(-1, 1)
    finite = np.isfinite(rows)
    number = int(finite.sum())
    if not number:
        return Signs(float("nan"), 0.0, 0.0, 0.0, rows.size)
    mean = float(rows[finite].mean())
    spreads = [rows[keep, i].std() for i, keep in enumerate(finite.T) if keep.any()]
    spread = float(np.mean(spreads))
    rounding = float(np.spacing(np.float32(abs(mean))))
    return Signs(mean, spread, rounding, spread / perturbation_scale, rows.size - number)


class VitalSigns:
    """Watches the steps of a run and says, once each, what cannot work.

    * All losses of a step are equal: the perturbation is lost, or nothing trained matters.
    * They differ by no more than the rounding of the forward pass.
    * The loss is above that of the start, or is no number any more, though the first step was
      sound: as a rule the learning rate is above what is stable. Uncorrected noise in the weights
      makes the gradient larger, and that the next step, so that the slopes often grow with it
      (`benchmarks/RESEARCH.md`).
    * The held-out loss, where it is told (`check_evaluation`), is above that of the start.
    * The learning rate is so small that the whole run would not show it: `N` steps of plain descent
      lower the loss by about `N eta |g|^2`, where a slope's square is `|g|^2` on average.

    What the first step says comes first: no update has been made yet, so that the perturbation
    alone can be its cause.

    Args:
      perturbation_scale: of the run; None if it is not known.
      window: steps that are looked at together.
      learning_rate: of a run of plain descent; None where the update is scaled otherwise.
      steps: that the run will take; None if it is not known.
      automatic: whether the run has found the length of its steps itself.

    >>> watch = VitalSigns(1e-3, window=2)
    >>> [watch.check_step([[0.5], [0.5]]) for _ in range(4)][3][0][:40]
    'all losses of a step were equal in the l'
    """

    def __init__(
        self,
        perturbation_scale: float | None,
        *,
        window: int = _WINDOW,
        learning_rate: float | None = None,
        steps: int | None = None,
        automatic: bool = False,
    ):
        if perturbation_scale is not None:
            arguments.positive("perturbation_scale", perturbation_scale)
        arguments.count("window", window, 2)
        self._scale, self._window = perturbation_scale, window
        self._automatic = automatic
        self._rate, self._steps = learning_rate, steps
        self._first: list[Signs] = []
        self._last: deque[Signs] = deque(maxlen=window)
        self._lost: deque[float] = deque(maxlen=window)
        self._said: set[str] = set()
        self._evaluated: float | None = None

    def recall(
        self, losses: Iterable[ArrayLike], evaluations: Mapping[int, float] | None = None
    ) -> None:
        """Looks again at the steps of a run that goes on, and says nothing.

        Args:
          losses: of each step, `(K, S)`.
          evaluations: held-out losses by the number of steps before them.
        """
        evaluations = evaluations or {}
        if 0 in evaluations:
            self.check_evaluation(evaluations[0])
        for number, step in enumerate(losses, 1):
            self.check_step(step)
            if number in evaluations:
                self.check_evaluation(evaluations[number])

    def check_step(self, losses: ArrayLike | Sequence[Any]) -> list[str]:
        """The warnings after a step with `(K, S)` losses: sentences, each once in a run."""
        # Slopes are compared with each other alone where nobody knows their scale.
        signs = signs_of(losses, self._scale or 1.0)
        self._lost.append(signs.nonfinite / np.size(losses))
        if np.isfinite(signs.mean):
            start = min(_START, self._window)
            (self._first if len(self._first) < start else self._last).append(signs)
        if len(self._lost) < self._window or not self._first:
            return []
        whole = len(self._last) == self._window
        # The first cause that is found stands for what follows from it.
        found = {"lost": self._overflown()}
        if whole and not any(found.values()):
            found = {"spread": self._flat(self._first[:1]) and self._flat(self._last)}
        if whole and not any(found.values()):
            found = {"rise": self._unstable()}
        if whole and not any(found.values()):
            found = {"spread": self._flat(self._last), "rate": self._slow()}
        new = {kind: text for kind, text in found.items() if text and kind not in self._said}
        self._said |= set(new)
        return list(new.values())

    def check_evaluation(self, loss: float) -> list[str]:
        """The warnings after an evaluation, of its loss; the first is that of the start.

        Held-out examples are many, so that a rise by a half is none of chance; where the training
        loss is below that of the start, it is overfitting and not said here.
        """
        if self._evaluated is None:
            self._evaluated = loss
        start, trained = self._evaluated, [signs.mean for signs in (*self._first, *self._last)]
        if "rise" in self._said or not trained or loss <= start + 0.5 * abs(start):
            return []
        if median(trained[-self._window :]) <= start:
            return []
        self._said.add("rise")
        return [
            f"the held-out loss has risen from {start:.3g} to {loss:.3g}, and so has that of the "
            f"steps: {self._too_long('above what is stable, divide it by 3 to 10')}"
        ]

    def _too_long(self, how: str) -> str:
        """What is to be done where steps are too long."""
        if self._automatic:
            return (
                "the steps that the run has found are too long; begin again with a learning_rate "
                "of your own, or train fewer parameters at first"
            )
        return f"learning_rate is {how}"

    def _overflown(self) -> str | None:
        if float(np.mean(self._lost)) <= 0.5 or self._first[0].nonfinite:
            return None
        return (
            f"{np.mean(self._lost):.0%} of the losses of the last {self._window} steps were not "
            "finite, though the first step's were: "
            + self._too_long("far above what is stable, divide it by 10 or more")
        )

    def _flat(self, steps: Sequence[Signs]) -> str | None:
        spread = median(signs.spread for signs in steps)
        rounding = median(signs.rounding for signs in steps)
        if spread == 0:
            return (
                f"all losses of a step were equal in the last {self._window} steps, so that "
                "nothing is learned: raise perturbation_scale, or train parameters that change "
                "the loss"
            )
        if spread < _ROUNDINGS * rounding:
            return (
                f"the losses of a step differ by {spread:.1e}, no more than a forward pass rounds "
                f"(float32 has steps of {rounding:.1e} here): raise perturbation_scale"
                + ("" if self._scale is None else f", now {self._scale:g}")
                + ", or compute the loss in float32"
            )
        return None

    def _unstable(self) -> str | None:
        start, end = ([signs.mean for signs in part] for part in (self._first, self._last))
        # By rank, as losses that run away have no mean: by chance once in 50,000 windows.
        if min(end) <= max(start) and not _far_above(start[0], end):
            return None
        before, now = (median(signs.slope for signs in part) for part in (self._first, self._last))
        slopes = f"; the slopes have grown {now / before:.1f} times" if now > 2 * before > 0 else ""
        far = median(end) > 100 * abs(start[0])
        how = (
            "far above what is stable, divide it by 100"
            if far
            else ("above what is stable, divide it by 3 to 10 or let it decay")
        )
        return (
            f"the loss has risen from {start[0]:.3g} to {median(end):.3g}{slopes}: "
            + self._too_long(how)
        )

    def _slow(self) -> str | None:
        if self._rate is None or self._steps is None:
            return None
        squares = [signs.slope**2 for signs in (*self._first, *self._last)]
        fall, loss = self._steps * self._rate * median(squares), abs(self._first[0].mean)
        if not 0 < fall < _NOTHING * loss:  # of equal losses no rate is told
            return None
        return (
            f"at this learning_rate, {self._rate:g}, all {self._steps} steps lower the loss by "
            f"about {fall:.0e} of {loss:.3g}: raise it, by a factor of "
            f"{10 ** np.floor(np.log10(0.1 * loss / fall)):.0e} or so"
        )


def _far_above(first: float, end: Sequence[float]) -> bool:
    """Whether the first step lies far below a window that a jump at once has led to.

    A rate that is far too large has done its harm within the steps that count as the start. The
    first batch may be an easy one, so that it takes much: the first loss is below all, by a factor
    of 30, and by four standard deviations, of logarithms where losses are positive.
    """
    if min(end) <= first or median(end) - first < 29 * abs(first):
        return False
    positive = first > 0
    values = np.log(end) if positive else np.asarray(end)
    centre = float(np.median(values))
    deviation = 1.4826 * float(np.median(np.abs(values - centre)))
    return bool(centre - (np.log(first) if positive else first) > 4 * deviation)
