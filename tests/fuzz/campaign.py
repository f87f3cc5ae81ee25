"""Many programs one after another, and what came of them."""

import collections
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import jax

from .comparison import Verdict, judge
from .drafts import UnfitError
from .programs import Program, draw
from .reproduction import reduced

CLEAR_EVERY = 400
"""Programs after which JAX forgets what it compiled, so that memory does not grow."""


@dataclass
class Report:
    """Counts so far.

    Attributes:
      kinds: verdicts by kind, and "undrawn" seeds, of which nothing came.
      failures: name of the kind of failure, and how often.
      ran: how often each operation was in a program that was compared.
      skips: reasons, and how often.
      refused: steps that JAX refused while programs were drawn.
      seconds: spent.
    """

    kinds: collections.Counter = field(default_factory=collections.Counter)
    failures: collections.Counter = field(default_factory=collections.Counter)
    ran: collections.Counter = field(default_factory=collections.Counter)
    skips: collections.Counter = field(default_factory=collections.Counter)
    refused: int = 0
    seconds: float = 0.0

    @property
    def programs(self) -> int:
        """How many were drawn."""
        return sum(self.kinds.values())

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {kind}" for kind, n in sorted(self.kinds.items()))
        rate = self.programs / max(self.seconds, 1e-9)
        return f"{self.programs} programs in {self.seconds:.0f} s ({rate:.1f} a second): {counts}"


def run(
    seeds: Iterator[int],
    *,
    seconds: float | None = None,
    only: str | None = None,
    on_failure: Callable[[Program, Verdict], None] = lambda program, verdict: None,
    on_progress: Callable[[Report], None] = lambda report: None,
    every: float = 30.0,
    reduce: bool = True,
) -> Report:
    """Runs the programs of the seeds until the time is over; goes on after failures.

    Args:
      seeds: of the programs.
      seconds: time limit; None for none.
      only: an operation that each program holds.
      on_failure: told of each failure, reduced.
      on_progress: told how far it is, every so often.
      every: seconds between two such reports.
      reduce: whether failing programs are made smaller first.

    Returns:
      The report.
    """
    report, began = Report(), time.monotonic()
    told, known = began, collections.Counter()
    for number, seed in enumerate(seeds):
        now = time.monotonic()
        report.seconds = now - began
        if seconds is not None and report.seconds > seconds:
            break
        if now - told > every:
            on_progress(report)
            told = now
        if number % CLEAR_EVERY == CLEAR_EVERY - 1:
            jax.clear_caches()
            gc.collect()
        try:
            program = draw(seed, only)
        except UnfitError:
            report.kinds["undrawn"] += 1
            continue
        report.refused += program.refused
        verdict = judge(program)
        report.kinds[verdict.kind] += 1
        if verdict.kind == "skipped":
            report.skips[verdict.what[:90]] += 1
            continue
        report.ran.update(step.name for step in program.steps)
        if verdict.kind == "wrong":
            known[verdict.where] += 1
            if reduce and known[verdict.where] <= (3 if "single" in verdict.where else 30):
                program, verdict = reduced(program, verdict)
            report.failures[name_of(program, verdict)] += 1
            on_failure(program, verdict)
    report.seconds = time.monotonic() - began
    return report


def name_of(program: Program, verdict: Verdict) -> str:
    """A short name for failures of one cause: what was raised, or the last steps."""
    kinds = sorted({k.split("(")[0] for k in program.kinds if k != "Zero"})
    steps = " then ".join(step.name for step in program.steps[-2:]) or "none"
    if verdict.where != "wrong losses":
        return f"{verdict.where} [{steps}]"
    dtypes = ",".join(sorted({str(w.dtype) for w in program.weights}))
    return f"{verdict.where} [{steps}; {', '.join(kinds)}; {dtypes}]"
