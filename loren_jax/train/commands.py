"""What a command is that knows how to run."""

from abc import ABC, abstractmethod

INTERRUPTED = 130
"""The exit code after a signal."""


class RunCommand(ABC):
    """A command on runs."""

    @abstractmethod
    def run(self) -> int:
        """Does it; returns the exit code."""
