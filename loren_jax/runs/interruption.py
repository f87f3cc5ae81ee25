"""Ctrl-C and SIGTERM as a request that the loop reads, so that nothing learned is lost."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A context in which the first signals only stop the loop.

    The first asks to stop behind the current step, the second leaves out the last evaluation as
    well, the third acts as it does outside. Signals reach the main thread only; elsewhere the
    context does nothing.

    Of several processes JAX hears SIGTERM, tells all of them, and names the step behind which all
    stop; Ctrl-C is passed on as that.
    """

    def __init__(self) -> None:
        self._count, self._evaluating = 0, False
        self._before: dict[int, Any] = {}

    @property
    def heard(self) -> bool:
        """Whether this process had a signal."""
        return self._count > 0

    def requested(self, step: int) -> bool:
        """Whether to stop now; of several processes all ask once a step and hear the same."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self.heard

    @contextmanager
    def evaluation(self) -> Iterator[bool]:
        """A context that the second signal ends with a KeyboardInterrupt.

        Yields:
          Whether to evaluate at all: the second signal may have been there before.
        """
        self._evaluating = True
        try:
            yield self._count < 2
        finally:
            self._evaluating = False

    def __enter__(self) -> "Interruption":
        """Starts listening."""
        if threading.current_thread() is threading.main_thread():
            several = jax.process_count() > 1
            heard = {signal.SIGINT: _pass_on} if several else dict.fromkeys(_SIGNALS, self._handle)
            self._before = {number: signal.signal(number, heard[number]) for number in heard}
        return self

    def __exit__(self, *exception: object) -> None:
        """Puts the former handlers back."""
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._count += 1
        urgent = self._count > 1
        what = "skipping the last evaluation" if urgent else "stopping after this step"
        print(f"\ninterrupted: {what}, keeping what was learned ...", file=sys.stderr, flush=True)
        if urgent:
            self._restore()
            if self._evaluating:
                raise KeyboardInterrupt

    def _restore(self) -> None:
        for number, handler in self._before.items():
            # None is one that Python did not set and cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}


def _pass_on(number: int, frame: FrameType | None) -> None:
    del number, frame
    print("\ninterrupted: all processes stop behind one step ...", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
