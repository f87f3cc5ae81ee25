"""How much noise is drawn at once: by default a small matrix is one block, here it is many."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

from loren_jax import scheduling

from .drafts import Draft


@dataclass(frozen=True)
class Limits:
    """What stands for the limits of `loren_jax.noise` while a program runs.

    Attributes:
      generated: numbers that the generator makes at once.
      held: numbers of a matrix that are held at once.
      few: numbers that are not worth a loop.
    """

    generated: int
    held: int
    few: int

    @contextlib.contextmanager
    def set(self) -> Iterator[None]:
        """In which these are the limits."""
        with (
            mock.patch.object(scheduling, "numbers_at_once", return_value=self.generated),
            mock.patch.object(scheduling, "block_numbers", return_value=self.held),
            mock.patch.object(scheduling, "FEW", self.few),
        ):
            yield

    @property
    def text(self) -> str:
        """As in a report."""
        return f"blocks of {self.held}, drawn by {self.generated}, few are {self.few}"


USUAL = Limits(scheduling.numbers_at_once(), scheduling.block_numbers(), scheduling.FEW)


def draw(draft: Draft) -> Limits:
    """The usual ones, or so small ones that the matrices are several blocks and a tail."""
    if draft.flip(0.4):
        return USUAL
    generated = draft.choice([2, 5, 10, USUAL.generated])
    held = draft.choice([1, 4, 6, 9, 14, 20, 30])
    return Limits(generated, held, draft.choice([1, 8, USUAL.few]))
