"""Times of calls that take turns in one process."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax


class Timers:
    """Named calls that take turns, so that whatever else the machine does falls on all of them."""

    def __init__(self) -> None:
        self.calls: dict[Any, Callable[[], Any]] = {}
        self.seconds: dict[Any, list[float]] = {}

    def add(self, name: Any, call: Callable[[], Any]) -> None:
        """Compiles and runs `call` once, unmeasured."""
        jax.block_until_ready(call())
        self.calls[name], self.seconds[name] = call, []

    def run(self, turns: int) -> None:
        """Each call once a turn, forwards and backwards: what follows what costs some, too."""
        for turn in range(turns):
            calls = list(self.calls.items())
            for name, call in calls if turn % 2 == 0 else calls[::-1]:
                start = time.perf_counter()
                jax.block_until_ready(call())
                self.seconds[name].append(time.perf_counter() - start)

    def ratio(self, name: Any, base: Any, number: int) -> tuple[float, float]:
        """Median of the turns' ratios, and ratio of the minima, to so many runs of `base`."""
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        median = statistics.median(own / (number * other) for own, other in pairs)
        return median, min(self.seconds[name]) / (number * min(self.seconds[base]))
