"""When to give up: no loss is finite any more, of all devices or of some."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Death(NamedTuple):
    """That there is no finite loss any more.

    Attributes:
        steps: Steps in a row without one.
        group: The group of devices that has none; None if no group has.
    """

    steps: int
    group: int | None

    def text(self, step: int, processes: Sequence[int]) -> str:
        """What an error says of it.

        Args:
            step: Steps taken.
            processes: Numbers of the processes that may be the cause; none where there is one.

        Returns:
            One sentence.

        Example:
            >>> Death(10, 1).text(37, [1])
            'no loss of process 1 was finite in the last 10 steps, up to step 37, while others \
were: look at its memory and its data, then resume'
        """
        who = " and ".join(f"process {number}" for number in processes)
        which = f"no loss of {who}" if who else "no loss"
        said = f"{which} was finite in the last {self.steps} steps, up to step {step}"
        if self.group is not None:
            return f"{said}, while others were: look at its memory and its data, then resume"
        return (
            f"{said}: lower learning_rate or perturbation_scale; if this began at the first step, "
            "the model's own loss is not finite"
        )


class Vitality:
    """Counts steps without a finite loss for each group of devices.

    One loss that is not finite is masked by the estimate, and so is a step without any. A group of
    devices that has none for long, while others have, is broken.

    Args:
        max_dead_steps: Steps in a row after which to give up.
        groups: Which group of devices evaluates each loss, of their shape; None for one group.
    """

    def __init__(self, max_dead_steps: int, groups: Callable[[tuple[int, ...]], np.ndarray | None]):
        self._limit, self._groups = max_dead_steps, groups
        self._dead: Counter[int] = Counter()

    def dead(self, losses: Float[np.ndarray, "K S"], dead_steps: int) -> Death | None:
        """Whether to give up.

        Args:
            losses: Of a step.
            dead_steps: Steps in a row without any finite loss.

        Returns:
            Why; None to go on.
        """
        if dead_steps >= self._limit:
            return Death(dead_steps, None)
        groups = self._groups(losses.shape)
        if groups is None:
            return None
        for group in range(int(groups.max()) + 1):
            alive = np.isfinite(losses[groups == group]).any()
            self._dead[group] = 0 if alive else self._dead[group] + 1
            if self._dead[group] >= self._limit and dead_steps == 0:
                return Death(self._dead[group], group)
        return None
