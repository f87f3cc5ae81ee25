"""Times of calls that take turns in one process."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax


class Timers:
    """Named calls that take turns, so that whatever else the machine does falls on all of them.

    `seconds` are those of the clock, `processor` those of all threads of this process: where other
    programs run, the latter say more.
    """

    def __init__(self) -> None:
        self.calls: dict[Any, Callable[[], Any]] = {}
        self.seconds: dict[Any, list[float]] = {}
        self.processor: dict[Any, list[float]] = {}

    def add(self, name: Any, call: Callable[[], Any]) -> None:
        """Compiles and runs `call` once, unmeasured."""
        jax.block_until_ready(call())
        self.calls[name], self.seconds[name], self.processor[name] = call, [], []

    def run(self, turns: int) -> None:
        """Each call once a turn, forwards and backwards: what follows what costs some, too."""
        for turn in range(turns):
            calls = list(self.calls.items())
            for name, call in calls if turn % 2 == 0 else calls[::-1]:
                start, busy = time.perf_counter(), time.process_time()
                jax.block_until_ready(call())
                self.seconds[name].append(time.perf_counter() - start)
                self.processor[name].append(time.process_time() - busy)

    def ratio(self, name: Any, base: Any, number: int) -> tuple[float, float]:
        """Median of the turns' ratios, and ratio of the minima, to so many runs of `base`."""
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        median = statistics.median(own / (number * other) for own, other in pairs)
        return median, min(self.seconds[name]) / (number * min(self.seconds[base]))
