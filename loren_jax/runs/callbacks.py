"""Who else hears of a run: callbacks, called with its events as they happen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from loren_jax.reports.files import METRICS
from loren_jax.reports.metrics import read_metrics


@runtime_checkable
class Callback(Protocol):
    """Anything that is called with the events of a run, on the first process alone.

    One with a method `close` is closed when the run ends, however it ends. An exception ends the
    run with the callback's name; nothing is lost, and the run can be resumed.

    >>> def shout(event):
    ...     if event["event"] == "evaluation":
    ...         print(event["step"], event["accuracy"])
    >>> isinstance(shout, Callback)
    True
    """

    def __call__(self, event: Mapping[str, Any], /) -> None:
        """Hears of an event.

        Args:
          event: A line of `metrics.jsonl`: `event` is `config`, `step`, `warning`, `evaluation`
            or `summary`; `step`, `forward_passes` and `seconds` say when; a step has its
            `loss`, an evaluation its scores. What was told before a run was resumed is not told
            again, though the run goes through its recorded steps once more.
        """


class CallbackError(RuntimeError):
    """A callback failed, which ended the run."""


class Listeners:
    """The callbacks of a run; those of one that is resumed heard what its directory has."""

    def __init__(self, callbacks: Sequence[Callback] = (), resumed: Path | None = None):
        known = callbacks and resumed is not None and (resumed / METRICS).is_file()
        heard = read_metrics(resumed) if known else ()
        self._callbacks, self._told = callbacks, set(map(_key, heard))

    def tell(self, event: Mapping[str, Any]) -> None:
        """Calls all with an event that is new; the summary of a run that goes on is."""
        if event["event"] != "summary" and _key(event) in self._told:
            return
        for callback in self._callbacks:
            self._call(callback, callback, f"{event['event']} of step {event['step']}", event)

    def close(self) -> None:
        """Closes those that can be closed."""
        for callback in self._callbacks:
            if (close := getattr(callback, "close", None)) is not None:
                self._call(callback, close, "end of the run")

    @staticmethod
    def _call(callback: Callback, call: Any, moment: str, *arguments: Any) -> None:
        try:
            call(*arguments)
        except Exception as error:
            name = getattr(callback, "__qualname__", type(callback).__qualname__)
            raise CallbackError(
                f"callback {name} failed at the {moment} ({type(error).__name__}: {error}); "
                "nothing is lost: mend it or leave it away, and resume the run"
            ) from error


def _key(event: Mapping[str, Any]) -> tuple[Any, ...]:
    return event["event"], event["step"], event.get("text")
