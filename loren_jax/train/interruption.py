"""Ctrl-C and SIGTERM as a wish that the loop reads, so that nothing learned is lost."""

import signal
import sys
import threading
from types import FrameType
from typing import Any

from loren_jax.train.cluster.alone import Alone

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A context in which the first signals are only counted.

    The first asks to stop after the current step, the second to leave out the last evaluation as
    well. A third acts as it does outside. Signals reach the main thread only; elsewhere the context
    does nothing.

    Attributes:
        count: Signals so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether to stop after the current step."""
        return self.count > 0

    @property
    def urgent(self) -> bool:
        """Whether to leave out the last evaluation too."""
        return self.count > 1

    def __enter__(self) -> "Interruption":
        """Starts counting."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._seen) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        """Puts the former handlers back."""
        self._restore()

    def _seen(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.count += 1
        if self.urgent:
            self._restore()
        what = "skipping the last evaluation" if self.urgent else "stopping after this step"
        print(f"\ninterrupted: {what}, keeping what was learned ...", file=sys.stderr, flush=True)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


class SharedInterruption:
    """The same for all processes of a run, which must stop behind the same step.

    Args:
        own: Of this process.
        peers: The processes of the run.
    """

    def __init__(self, own: Interruption, peers: Alone):
        self._own, self._peers = own, peers

    @property
    def requested(self) -> bool:
        """Whether to stop after the current step; all processes must ask equally often."""
        return self._peers.stopping(self._own.requested)

    @property
    def urgent(self) -> bool:
        """Whether to leave out the last evaluation too; a single process only may."""
        self._peers.alive()
        return self._own.urgent and self._peers.count == 1
