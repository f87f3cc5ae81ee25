"""Protocols: which rows train, which select, which are reported, and by which metrics.

A number without its protocol says little: the accuracy that the LOREN paper calls test accuracy is
the best of many evaluations on the same 256 validation rows, which is a selection on the test set.
`paper` repeats that, to compare with published tables; `clean` keeps the official validation set
away from every decision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loren_jax.tasks.examples import Examples, split
from loren_jax.tasks.splits import DEFAULTS, Splits, four_fifths
from loren_jax.tasks.task import Task


@dataclass(frozen=True)
class Protocol:
    """How a result is made.

    Attributes:
      name: as the command line and every report spell it.
      train_examples: training rows.
      dev_examples: rows that the evaluations see, of which the best one selects.
      max_length: longest input in tokens.
      drawn: whether the seed draws the rows, instead of the first ones in stored order.
      separate_test: whether what is reported is scored once, on rows that selected nothing.
      own_metrics: whether the task's own metrics count, instead of accuracy for every task.
      prompts: whether prompts are foreseen.
    """

    name: str
    train_examples: int
    dev_examples: int
    max_length: int
    drawn: bool
    separate_test: bool
    own_metrics: bool
    prompts: bool

    def metrics(self, task: Task | None) -> tuple[str, ...]:
        """Return the names of the metrics that count for a task, the selecting one first."""
        return task.metrics if task and self.own_metrics else ("accuracy",)

    def title(
        self, *, train_examples: int | None, dev_examples: int, max_length: int, prompted: bool
    ) -> str:
        """Return the name, with everything in which a run departs from the protocol.

        Args:
          train_examples: training rows asked for; `None` for all.
          dev_examples: selection rows asked for.
          max_length: longest input in tokens.
          prompted: whether there is a prompt.

        >>> PAPER.title(train_examples=512, dev_examples=256, max_length=64, prompted=False)
        'paper (max_length 64, not 128)'
        """
        asked = {
            "train_examples": (train_examples, self.train_examples),
            "dev_examples": (dev_examples, self.dev_examples),
            "max_length": (max_length, self.max_length),
        }
        departures = [
            f"{name} {'all' if value is None else value}, not {fixed}"
            for name, (value, fixed) in asked.items()
            if value != fixed
        ]
        if prompted and not self.prompts:
            departures.append("with prompts")
        return f"{self.name} ({'; '.join(departures)})" if departures else self.name


PAPER = Protocol(
    name="paper",
    train_examples=512,
    dev_examples=256,
    max_length=128,
    drawn=False,
    separate_test=False,
    own_metrics=False,
    prompts=False,
)

CLEAN = Protocol(
    name="clean",
    train_examples=512,
    dev_examples=256,
    max_length=128,
    drawn=True,
    separate_test=True,
    own_metrics=True,
    prompts=True,
)

PROTOCOLS: Mapping[str, Protocol] = {protocol.name: protocol for protocol in (PAPER, CLEAN)}
"""The protocols by name."""


def divide(
    protocol: Protocol,
    splits: Splits,
    *,
    train_examples: int | None,
    dev_examples: int,
    test_examples: int | None = None,
    seed: int = 0,
) -> Splits:
    """Divide a source as a protocol says.

    `paper` takes the first rows of both splits, or all of a smaller one. `clean` draws disjoint
    training and dev rows out of the training split; where there are too few for both, such as the
    250 of CB, they are shared out in proportion, 2 to 1. Its test set is the whole validation
    split.

    Args:
      protocol: which one.
      splits: the source.
      train_examples: training rows; `None` for all that are left.
      dev_examples: selection rows.
      test_examples: test rows to set aside first, by the same draw for all seeds, of a source
        without a validation split.
      seed: of the draw.

    Returns:
      Disjoint examples; the dev rows are the `validation` of the run.

    Raises:
      ValueError: if the protocol needs a validation split that the source does not have, or
        there are too few rows to divide.
    """
    if not protocol.drawn:
        return _first_rows(protocol, splits, train_examples, dev_examples)
    train, test = splits.train, splits.validation
    if test is None:
        test, train = _set_aside(train, test_examples)
    if train_examples is None:
        train_examples = max(1, len(train) - dev_examples)
    counts = _share_out((train_examples, dev_examples), len(train))
    return Splits(*split(train, train=counts[0], held_out=counts[1], seed=seed), test)


def _first_rows(protocol: Protocol, splits: Splits, train: int | None, dev: int) -> Splits:
    if splits.validation is None:
        raise ValueError(
            f"protocol {protocol.name} takes the first rows of a validation split, which this data "
            "does not have; name a task or a Hub data set, or give held_out_data"
        )
    train = len(splits.train) if train is None else min(train, len(splits.train))
    return Splits(
        splits.train.take(train), splits.validation.take(min(dev, len(splits.validation)))
    )


def _set_aside(examples: Examples, count: int | None) -> tuple[Examples, Examples]:
    """A test set and the rest; the same for every seed, since a test set is not drawn anew."""
    if count == DEFAULTS[1] and sum(DEFAULTS) > len(examples):  # of nobody who asked for so many
        return four_fifths(examples, 0)[::-1]
    if count is None or count >= len(examples):
        raise ValueError(
            f"held_out_examples is {count}, but the test set comes out of the same "
            f"{len(examples)} examples as the training set; give a smaller number"
        )
    return split(examples, train=count, held_out=len(examples) - count, seed=0)


def _share_out(wanted: Sequence[int], available: int) -> tuple[int, int]:
    """The wanted numbers, or numbers in the same proportion.

    >>> _share_out((512, 256), 250)
    (167, 83)
    """
    train, dev = wanted
    if train + dev <= available:
        return train, dev
    dev = available * dev // (train + dev)
    if dev < 1:
        raise ValueError(f"{available} training examples are too few for a dev split; give more")
    return available - dev, dev
