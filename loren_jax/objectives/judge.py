"""Answers judged on the host: a reward called in processes of its own, with a time limit a call.

Processes and not threads, because nothing ends a thread: a reward that hangs would hang the run,
and one that ends its process would end it.
"""

import contextlib
import math
import multiprocessing
import multiprocessing.connection
import os
import sys
import time
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from loren_jax.tasks.reward_process import serve

_START = 60.0
"""Seconds in which a process is to have read the reward."""


class Verdicts(NamedTuple):
    """What answers are worth.

    Attributes:
      rewards: Of each answer; NaN where there is none.
      failures: Why not, in words, with how often.
    """

    rewards: Float[np.ndarray, " answers"]
    failures: Mapping[str, int]


class Judge:
    """Calls a reward for many answers at a time.

    Args:
      reward: What `loren_jax.tasks.rewards.reward_named` knows, a file of one's own included.
      seconds: A call may take.
      workers: Processes; by default one for each processor, but no more than 8.

    Raises:
      ValueError: There is no such reward, or an argument is out of range.

    >>> with Judge("length:1", workers=1) as judge:
    ...     judge(["", ""], ["yes", "well, yes"], [{}, {}]).rewards.tolist()
    [1.0, 0.5]
    """

    def __init__(self, reward: str, *, seconds: float = 10.0, workers: int | None = None):
        workers = min(os.cpu_count() or 1, 8) if workers is None else workers
        if not seconds > 0 or workers < 1:
            raise ValueError(f"seconds={seconds} must be above 0, and workers={workers} at least 1")
        self._reward, self._seconds = reward, seconds
        self._workers: list[_Worker] = []
        weakref.finalize(self, _end, self._workers)
        try:
            self._workers += [_Worker(reward) for _ in range(workers)]
            for worker in self._workers:
                worker.ready()
        except BaseException:
            self.close()
            raise

    def __call__(
        self,
        prompts: Sequence[str],
        answers: Sequence[str],
        examples: Sequence[Mapping[str, Any]],
    ) -> Verdicts:
        """Judges.

        Args:
          prompts: Of each answer.
          answers: What was written.
          examples: The row of data of each prompt.

        Returns:
          The rewards in the order of the answers. A call that raises, takes too long or gives no
          number has none: it is told, and never taken for a zero.
        """
        waiting = list(enumerate(zip(prompts, answers, examples, strict=True)))[::-1]
        rewards, failures = np.full(len(waiting), math.nan), Counter[str]()
        busy: dict[Any, tuple[int, float]] = {}

        def note(number: int, reward: float, failure: str | None) -> None:
            rewards[number] = reward
            if failure is not None:
                failures[failure] += 1

        while waiting or busy:
            for worker in [*self._workers]:
                if waiting and worker not in busy:
                    number, call = waiting.pop()
                    try:
                        worker.connection.send(call)
                    except OSError:  # somebody has ended it meanwhile
                        waiting.append((number, call))
                        self._replace(worker)
                        continue
                    busy[worker] = number, time.monotonic() + self._seconds
            if not busy:
                continue
            by_connection = {worker.connection: worker for worker in busy}
            left = min(end for _, end in busy.values()) - time.monotonic()
            for told in multiprocessing.connection.wait([*by_connection], max(left, 0)):
                worker = by_connection[told]
                number, _ = busy.pop(worker)
                try:
                    note(number, *worker.connection.recv())
                except (EOFError, OSError):
                    note(number, math.nan, "the reward ended its process")
                    self._replace(worker)
            for worker, (number, end) in [*busy.items()]:
                if time.monotonic() >= end and not worker.connection.poll():
                    del busy[worker]
                    note(number, math.nan, f"it took longer than {self._seconds:g} s")
                    self._replace(worker)
        return Verdicts(rewards, dict(failures))

    def _replace(self, worker: "_Worker") -> None:
        worker.end()
        new = self._workers[self._workers.index(worker)] = _Worker(self._reward)
        new.ready()

    def close(self) -> None:
        """Ends the processes, as does the end of the judge itself."""
        _end(self._workers)

    def __enter__(self) -> "Judge":
        """Return the judge."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes."""
        self.close()


def _end(workers: "list[_Worker]") -> None:
    while workers:
        workers.pop().end()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """A new process would run the user's script again, which would start a run of its own there."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class _Worker:
    """One process, and the end of its pipe that is here."""

    def __init__(self, reward: str):
        # A copy of this process would hold its threads' locks, JAX's among them, for good.
        context = multiprocessing.get_context("spawn")
        self.connection, there = context.Pipe()
        self._process = context.Process(target=serve, args=(reward, there), daemon=True)
        with _without_main():
            self._process.start()
        there.close()

    def ready(self) -> None:
        """Waits until the reward is read; raises what stood in the way."""
        failure: BaseException | None = ValueError("the process of the reward did not start")
        if self.connection.poll(_START):
            with contextlib.suppress(EOFError):
                failure = self.connection.recv()
        if failure is not None:
            raise failure

    def end(self) -> None:
        """Ends it, whatever it does."""
        self.connection.close()
        self._process.kill()
        self._process.join()
