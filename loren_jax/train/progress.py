"""What is seen while a run goes on, on standard error: a bar, and a line for every evaluation."""

import sys
import time

from tqdm import tqdm

from loren_jax.train.scoring import Score

# Half of the weight lies on the last seven steps: smooth, and still current.
_SMOOTHING = 0.9


class Progress:
    """A progress bar where there is a terminal; lines alone where there is none.

    Args:
        steps: Steps that the run will take.
        held_out: What the evaluated examples are called.
        shown: Whether to show anything; of several processes, one does.
    """

    def __init__(self, steps: int, held_out: str = "held-out", *, shown: bool = True):
        self._shown = shown
        self._bar = tqdm(
            total=steps,
            file=sys.stderr,
            disable=not (shown and sys.stderr.isatty()),
            dynamic_ncols=True,
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} steps, {remaining} left{postfix}",
        )
        self._steps, self._held_out = steps, held_out
        self._loss: float | None = None
        self._accuracy: float | None = None
        self._start = time.perf_counter()

    def stepped(self, step: int, loss: float, passes_per_second: float) -> None:
        """Shows that a step is done.

        Args:
            step: Steps taken.
            loss: Its loss.
            passes_per_second: Speed of the training steps so far.
        """
        if loss == loss:  # a step without a finite loss would blank the bar for good
            kept = loss if self._loss is None else self._loss
            self._loss = _SMOOTHING * kept + (1 - _SMOOTHING) * loss
        self._bar.set_postfix_str(
            f"loss {_number(self._loss)}, {self._held_out} accuracy {_number(self._accuracy)}, "
            f"{passes_per_second:.1f} passes/s",
            refresh=False,
        )
        self._bar.update(step - self._bar.n)

    def warned(self, step: int, text: str) -> None:
        """Prints what is wrong with the run.

        Args:
            step: Steps taken.
            text: One sentence.
        """
        if self._shown:
            self._bar.write(f"step {step}: warning: {text}", file=sys.stderr)

    def evaluated(self, step: int, score: Score) -> None:
        """Prints the result of an evaluation.

        Args:
            step: Steps taken.
            score: The score after them.
        """
        self._accuracy = score.accuracy
        if not self._shown:
            return
        loss = "" if self._loss is None else f"training loss {self._loss:.4f}, "
        seconds = time.perf_counter() - self._start
        self._bar.write(
            f"step {step}/{self._steps}: {loss}{self._held_out} loss {score.loss:.4f}, "
            f"{self._held_out} accuracy {score.accuracy:.3f} ({seconds:.0f} s)",
            file=sys.stderr,
        )

    def __enter__(self) -> "Progress":
        """Returns the display."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends the bar."""
        self._bar.close()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
