"""What became of the answers of some steps: whether a run on a reward can learn at all."""

import sys
import time
from collections import Counter
from collections.abc import Mapping

import numpy as np


class Tally:
    """Counts of the answers since the last evaluation."""

    def __init__(self):
        self._failures = Counter[str]()
        self._answers = self._prompts = self._changed = self._tied = self._truncated = 0
        self._rewards, self._last = 0.0, b""
        self._tokens, self._times = 0, (0.0, 0.0)

    def add(
        self,
        step: bytes,
        rewards: np.ndarray,
        failures: Mapping[str, int],
        ended: np.ndarray,
        *,
        prompts: int,
        changed: int,
        tied: int,
        tokens: int,
    ) -> None:
        """Adds a step.

        Args:
          step: By which it is known: one that is timed beforehand counts once.
          rewards: Of all answers; NaN where there is none.
          failures: Why not, with how often.
          ended: Whether each answer came to an end.
          prompts: That were answered.
          changed: Of these, those whose answers differ between the queries.
          tied: Those whose answers are all worth the same.
          tokens: Of all answers.
        """
        now = time.perf_counter()
        if self._answers == 0 or step == self._last:  # its own time is not known
            self._times, tokens = (now, now), 0
        self._times, self._tokens = (self._times[0], now), self._tokens + tokens
        if step == self._last:
            return
        self._last = step
        self._failures.update(failures)
        self._answers += rewards.size
        self._rewards += float(np.nansum(rewards))
        self._truncated += int(np.sum(~ended))
        self._prompts, self._changed = self._prompts + prompts, self._changed + changed
        self._tied += tied

    def shares(self) -> dict[str, float]:
        """Scores by name, none without a step; warns where nothing can be learned."""
        if not self._answers:
            return {}
        tell(self._failures, "answers in training")
        if not self._changed:
            _warn("no answer differs between the queries of a step: raise --perturbation-scale")
        elif self._tied == self._prompts:
            _warn("all answers to each prompt are worth the same, so nothing can be learned")
        if self._truncated == self._answers:
            _warn("all answers are cut off: raise --max-new-tokens")
        judged, (first, last) = self._answers - self._failures.total(), self._times
        speed = {"tokens_per_second": self._tokens / (last - first)} if last > first else {}
        return {
            "train_reward": self._rewards / judged if judged else float("nan"),
            "train_truncated": self._truncated / self._answers,
            "changed": self._changed / self._prompts,
            "tied": self._tied / self._prompts,
            **speed,
        }


def tell(failures: Mapping[str, int], what: str) -> None:
    """Warns of answers that have no reward, with the most frequent reasons."""
    for why, number in sorted(failures.items(), key=lambda pair: -pair[1])[:3]:
        _warn(f"{number} of the {what} have no reward: {why}")


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
