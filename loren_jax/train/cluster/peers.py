"""The processes of a run: who is alive, when all stop, and what one tells the others.

Everything goes through the key-value store of JAX's coordination service, which process 0 runs. A
thread of each process says twice a second how it is; process 0 judges, and what it decides counts
for all. So a process that dies or hangs ends the run on all of them, also where the others wait for
it inside a collective operation that has no end.
"""

import atexit
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from loren_jax.train.cluster.alone import Alone
from loren_jax.train.cluster.judgement import Member, judged
from loren_jax.train.cluster.last_words import LastWords
from loren_jax.types import JSON

_BEAT = 0.5
_PATIENCE = 2.0
"""Seconds that a main thread has to end by itself once the run has failed."""
_FAILED = 2
_STATUS = re.compile(r"^[A-Z][A-Z_]+: ")
"""How the errors of XLA's collective operations begin."""


class PeerError(ConnectionError):
    """Another process of the run died, hangs or failed; the message names it."""


class Peers(Alone):
    """This process among those of its run.

    Args:
        client: The key-value store, as `jax.distributed` connects it.
        index: Number of this process.
        count: How many there are.
        coordinator: Address of process 0.
        peer_timeout: Seconds of silence that end the run.
        step_timeout: Seconds without progress that end the run.
    """

    def __init__(
        self,
        client: Any,
        index: int,
        count: int,
        *,
        coordinator: str,
        peer_timeout: float,
        step_timeout: float,
    ):
        self.index, self.count = index, count
        self._client, self._limits = client, (peer_timeout, step_timeout)
        self._lock = threading.Condition()
        self._own = Member()
        self._orders: dict[str, Any] = {}
        self._verdict: str | None = None
        self._seen: dict[int, tuple[Member, float, float]] = {}
        self._heard = time.monotonic()
        self._words = LastWords(index, coordinator) if index else None
        self._shared = 0
        self._ended = self._told = False
        atexit.register(self._exit)
        for work in (self._speak, self._watch):
            threading.Thread(target=work, daemon=True, name=f"peers {work.__name__}").start()

    @property
    def first(self) -> bool:
        """Whether this is process 0, which alone writes files."""
        return self.index == 0

    def share(self, make: Callable[[], str]) -> str:
        """A text that process 0 makes, on all processes; all must ask for the same in one order."""
        self._shared += 1
        key = f"loren_jax/shared/{self._shared}"
        if self.first:
            text = make()
            self._client.key_value_set(key, text)
            return text
        return self._awaited(key)

    def numbers(self, own: int) -> list[int]:
        """The number that each process gives; all must ask in one order."""
        self._shared += 1
        key = f"loren_jax/numbers/{self._shared}"
        self._client.key_value_set(f"{key}/{self.index}", str(own))
        return [int(self._awaited(f"{key}/{i}")) for i in range(self.count)]

    def alive(self) -> None:
        """Tells the others that there was progress.

        Raises:
            PeerError: If the run has failed.
        """
        with self._lock:
            self._own = self._own.progressed()
        self._raise_if_failed()

    def stopping(self, wish: bool) -> bool:
        """Whether all stop now, because one or more wish to; the same answer on all processes.

        All must ask equally often. Once one wishes to stop, each lets the others know how often it
        has been answered; the run goes on to the furthest, so that none waits for another's step.

        Args:
            wish: Whether this process wishes to stop.

        Returns:
            Whether to stop.
        """
        self.alive()
        with self._lock:
            if wish and not self._own.wish:
                self._own = self._own._replace(wish=True)
            while self._own.held is not None and "stop" not in self._orders:
                if self._lock.wait(_BEAT):
                    continue
                self._raise_if_failed()
            self._own = self._own.asked()
            return self._own.answers > self._orders.get("stop", float("inf"))

    def attributed(self, error: BaseException) -> BaseException:
        """The error that a run ends with: another process's, if that is what caused it.

        Tells the others of an error of this process's own.

        Args:
            error: What was raised here.

        Returns:
            The error to raise.
        """
        if isinstance(error, PeerError):
            return error
        if _STATUS.match(str(error)):  # of a collective: somebody else is gone, or will be found
            with self._lock:
                self._own = self._own._replace(broken=True)
            end = time.monotonic() + self._limits[0]
            while time.monotonic() < end:
                if self._verdict is not None:
                    self._told = True
                    return PeerError(self._verdict)
                time.sleep(_BEAT / 5)
        with self._lock:
            text = " ".join(str(error).split()) or type(error).__name__
            self._own = self._own._replace(failed=text[:500])
        self._try(self._post)
        return error

    def finished(self) -> None:
        """Waits until process 0 has written what there is to write; then all may end."""
        if self.first:
            self._order(done=True)
        with self._lock:
            while "done" not in self._orders:
                self._lock.wait(_BEAT)
                self._raise_if_failed()
            self._own = self._own._replace(left=True)
        self._try(self._post)
        self._ended = True

    def _awaited(self, key: str) -> str:
        while True:
            try:
                return self._client.blocking_key_value_get(key, 1000)
            except Exception as error:
                if "DEADLINE_EXCEEDED" not in str(error) and "NOT_FOUND" not in str(error):
                    raise
            self._raise_if_failed()

    def _raise_if_failed(self) -> None:
        if self._verdict is not None:
            self._told = True
            raise PeerError(self._verdict)

    def _try(self, *calls: Callable[[], None]) -> bool:
        """Calls what needs process 0; False if that cannot be reached, which the judge notices."""
        try:
            for call in calls:
                call()
        except Exception:
            return False
        return True

    def _speak(self) -> None:
        """Says how this process is, and hears what process 0 has decided."""
        while not self._ended:
            self._try(self._post, self._hear)
            time.sleep(_BEAT)

    def _post(self) -> None:
        with self._lock:
            self._own = self._own._replace(beat=self._own.beat + 1)
            if "freeze" in self._orders and self._own.held is None:
                self._own = self._own._replace(held=self._own.answers)
            text = json.dumps(self._own._asdict())
        self._client.key_value_set(f"loren_jax/state/{self.index}", text, allow_overwrite=True)

    def _hear(self) -> None:
        if self.first:
            found = self._client.key_value_dir_get("loren_jax/state/")
            states = {int(key.rpartition("/")[2]): Member(**json.loads(v)) for key, v in found}
            self._note(states)
            self._order(**judged(self._ages(), self._orders, *self._limits))
            return
        orders = json.loads(self._client.key_value_try_get("loren_jax/orders"))
        with self._lock:
            if orders["beat"] != self._orders.get("beat"):
                self._heard = time.monotonic()
            self._orders = orders
            self._verdict = self._verdict or orders.get("verdict")
            self._lock.notify_all()

    def _note(self, states: dict[int, Member]) -> None:
        """Remembers when each process was last heard of, and when it last made progress."""
        now = time.monotonic()
        for index in range(self.count):
            state = states.get(index, Member())
            before, heard, moved = self._seen.get(index, (Member(), now, now))
            heard = now if state.beat != before.beat else heard
            moved = now if state.progress != before.progress else moved
            self._seen[index] = (state, heard, moved)

    def _ages(self) -> list[tuple[Member, float, float]]:
        now = time.monotonic()
        return [
            (member, now - heard, now - moved)
            for member, heard, moved in (self._seen[i] for i in range(self.count))
        ]

    def _order(self, **decided: JSON) -> None:
        """Tells all what process 0 has decided; decisions stand."""
        with self._lock:
            beat = self._orders.get("beat", 0) + 1
            self._orders = {**decided, **self._orders, "beat": beat}
            self._verdict = self._orders.get("verdict")
            text = json.dumps(self._orders)
            self._heard = time.monotonic()
            self._lock.notify_all()
        self._client.key_value_set("loren_jax/orders", text, allow_overwrite=True)

    def _watch(self) -> None:
        """Ends a process whose main thread cannot: it waits for one that is gone."""
        while not self._ended:
            time.sleep(_BEAT)
            silent = time.monotonic() - self._heard
            if silent > self._limits[0] and not self.first and self._verdict is None:
                self._verdict = (
                    f"process 0, the coordinator, has not been heard of for {silent:.0f} s; it is "
                    "dead, hangs or cannot be reached"
                )
            if self._verdict is not None:
                time.sleep(_PATIENCE)
                if not self._told:
                    print(f"loren-jax: error: {self._verdict}", file=sys.stderr)
                if not self._ended:
                    self._exit(failed=True)

    def _exit(self, failed: bool | None = None) -> None:
        """Leaves the group; a failed run without JAX's own farewell, which waits for the dead."""
        failed = not self._ended if failed is None else failed
        self._ended = True
        sys.stdout.flush()
        sys.stderr.flush()
        if failed and self.first:
            self._linger()
        if self._words is not None:
            self._words.unsaid()
        if failed:
            os._exit(_FAILED)

    def _linger(self) -> None:
        """Process 0 ends last: with it ends what the others hear from."""
        end = time.monotonic() + 3 * _PATIENCE
        while time.monotonic() < end:
            time.sleep(_BEAT)
            if not self._try(self._post, self._hear):
                return
            others = [age for index, age in enumerate(self._ages()) if index]
            if all(member.left or heard > 2 * _PATIENCE for member, heard, _ in others):
                return
