"""What process 0 decides from how all processes say they are."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_GONE = 3.0
"""Seconds of silence that make a process the cause of a collective operation that broke."""


class Member(NamedTuple):
    """How a process is.

    Attributes:
        beat: How often it has spoken.
        progress: How often its main thread has got further.
        answers: How often it was told whether to stop.
        wish: Whether it wishes to stop.
        held: `answers` when it heard that somebody wishes to stop; it waits since.
        broken: Whether a collective operation failed on it.
        failed: What it failed of; None if it has not.
        left: Whether it is at its end.
    """

    beat: int = 0
    progress: int = 0
    answers: int = 0
    wish: bool = False
    held: int | None = None
    broken: bool = False
    failed: str | None = None
    left: bool = False

    def progressed(self) -> "Member":
        """The same, a little further."""
        return self._replace(progress=self.progress + 1)

    def asked(self) -> "Member":
        """The same, told once more whether to stop."""
        return self._replace(answers=self.answers + 1)


def judged(
    members: Sequence[tuple[Member, float, float]],
    orders: Mapping[str, Any],
    peer_timeout: float,
    step_timeout: float,
) -> dict[str, Any]:
    """What there is to decide.

    Args:
        members: Of each process its state, the seconds since it was last heard of, and those since
            it last got further.
        orders: What was decided before.
        peer_timeout: Seconds of silence that end the run.
        step_timeout: Seconds without progress of any process that end it.

    Returns:
        Any of `verdict`, why the run ends; `freeze`, that all tell where they are in order to stop
        together; `stop`, the number of answers behind which all stop.

    Example:
        >>> fine, silent = (Member(beat=9), 0.2, 1.0), (Member(beat=4), 70.0, 71.0)
        >>> judged([fine, silent], {}, 60.0, 1800.0)["verdict"]
        'process 1 has not been heard of for 70 s; it is dead, hangs or cannot be reached'
        >>> judged([fine, fine], {}, 60.0, 1800.0)
        {}
    """
    decided: dict[str, Any] = {}
    if reason := _failure(members, peer_timeout, step_timeout):
        decided["verdict"] = reason
    if any(member.wish for member, *_ in members):
        decided["freeze"] = True
    held = [member.held for member, *_ in members if member.held is not None]
    if "freeze" in orders and len(held) == len(members):
        decided["stop"] = max(held)
    return decided


def _failure(
    members: Sequence[tuple[Member, float, float]], peer_timeout: float, step_timeout: float
) -> str | None:
    present = [(i, *member) for i, member in enumerate(members) if not member[0].left]
    if failed := [f"process {i} failed: {m.failed}" for i, m, *_ in present if m.failed]:
        return failed[0]
    limit = _GONE if any(m.broken for _, m, *_ in present) else peer_timeout
    if silent := [(i, heard) for i, _, heard, _ in present if heard > limit]:
        who = _named([i for i, _ in silent])
        return (
            f"{who} not been heard of for {max(heard for _, heard in silent):.0f} s; it is dead, "
            "hangs or cannot be reached"
        )
    if present and min(moved for *_, moved in present) > step_timeout:
        least = min(m.progress for _, m, *_ in present)
        behind = [i for i, m, *_ in present if m.progress == least]
        if len(behind) == len(present):
            return f"no process has got any further for {step_timeout:.0f} s"
        return f"{_named(behind)} not got any further for {step_timeout:.0f} s, and the others wait"
    return None


def _named(numbers: Sequence[int]) -> str:
    """Who has.

    Example:
        >>> _named([1]), _named([0, 2])
        ('process 1 has', 'processes 0 and 2 have')
    """
    if len(numbers) == 1:
        return f"process {numbers[0]} has"
    return f"processes {', '.join(map(str, numbers[:-1]))} and {numbers[-1]} have"
