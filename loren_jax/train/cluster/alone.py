"""A run with one process: it decides for itself, and there is nobody to tell."""

from collections.abc import Callable


class Alone:
    """What `Peers` is for a group, of a single process.

    Attributes:
        index: Number of this process.
        count: How many there are.
    """

    index, count = 0, 1

    @property
    def first(self) -> bool:
        """Whether this is process 0, which alone writes files."""
        return True

    def share(self, make: Callable[[], str]) -> str:
        """A text that process 0 makes, on all processes."""
        return make()

    def numbers(self, own: int) -> list[int]:
        """The number that each process gives."""
        return [own]

    def alive(self) -> None:
        """Tells the others that there was progress."""

    def stopping(self, wish: bool) -> bool:
        """Whether all stop now."""
        return wish

    def attributed(self, error: BaseException) -> BaseException:
        """The error that a run ends with."""
        return error

    def finished(self) -> None:
        """Waits until process 0 has written what there is to write."""
