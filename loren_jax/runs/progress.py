"""What is seen while a run goes on, on standard error: a bar, and a line for every evaluation."""

import sys
import time
from collections.abc import Mapping

# Half of the weight lies on the last seven steps: smooth, and still current.
_SMOOTHING = 0.9


class Progress:
    """A progress bar where there is a terminal; lines alone where there is none.

    `held_out` is what the evaluated examples are called, in front of each score; `shown` are the
    scores that are shown, all by default.
    """

    def __init__(self, steps: int, held_out: str = "", shown: tuple[str, ...] | None = None):
        # Not with the package, which works without it.
        from tqdm import tqdm

        self._bar = tqdm(
            total=steps,
            file=sys.stderr,
            disable=sys.stderr is None or not sys.stderr.isatty(),
            dynamic_ncols=True,
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} steps, {remaining} left{postfix}",
        )
        self._steps, self._held_out, self._shown = steps, held_out, shown
        self._loss: float | None = None
        self._scores = ""
        self._start = time.perf_counter()

    def stepped(self, step: int, loss: float, passes_per_second: float) -> None:
        """Shows that a step is done; the speed is that of the training steps so far."""
        if loss == loss:  # a step without a finite loss would blank the bar for good
            kept = loss if self._loss is None else self._loss
            self._loss = _SMOOTHING * kept + (1 - _SMOOTHING) * loss
        shown = "-" if self._loss is None else f"{self._loss:.3f}"
        self._bar.set_postfix_str(
            f"loss {shown}, {self._scores}{passes_per_second:.1f} passes/s", refresh=False
        )
        self._bar.update(step - self._bar.n)

    def warned(self, step: int, text: str) -> None:
        """Prints one sentence on what is wrong with the run."""
        self._bar.write(f"step {step}: warning: {text}", file=sys.stderr)

    def evaluated(self, step: int, scores: Mapping[str, float]) -> None:
        """Prints the scores after a step."""
        names = scores if self._shown is None else [n for n in self._shown if n in scores]
        before = f"{self._held_out} " if self._held_out else ""
        told = ", ".join(f"{before}{name} {scores[name]:.4f}" for name in names)
        last = list(names)[-1:]
        self._scores = "".join(f"{before}{name} {scores[name]:.3f}, " for name in last)
        loss = "" if self._loss is None else f"training loss {self._loss:.4f}, "
        seconds = time.perf_counter() - self._start
        self._bar.write(
            f"step {step}/{self._steps}: {loss}{told} ({seconds:.0f} s)", file=sys.stderr
        )

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()
