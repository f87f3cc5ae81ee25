"""The other side of a judge: a process that calls a reward until its pipe is closed.

It stands apart from the judge because a new process imports what it needs again: here a reward and
what it stands in, and no library of networks.
"""

import math
import os
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from loren_jax.tasks.rewards import reward_named


def serve(name: str, connection: Connection) -> None:
    """Says whether the reward `name` could be read, then calls it for whatever is sent."""
    if hasattr(os, "setsid"):
        # Ctrl-C is for the run, which ends when the step is done; a terminal tells the whole group.
        os.setsid()
    try:
        reward = reward_named(name)
    except Exception as error:
        known = isinstance(error, ValueError | FileNotFoundError)
        told = f"reward {name}: {type(error).__name__}: {error}".splitlines()[0]
        connection.send(error if known else ValueError(told))
        return
    connection.send(None)
    while True:
        try:
            call = connection.recv()
        except EOFError:
            return
        connection.send(_call(reward, call))


def _call(reward: Any, call: tuple[str, str, Mapping[str, Any]]) -> tuple[float, str | None]:
    try:
        made = float(reward(*call))
    except Exception as error:
        line = str(error).splitlines()[0][:200] if str(error) else ""
        return math.nan, f"{type(error).__name__}: {line}".removesuffix(": ")
    return (made, None) if math.isfinite(made) else (math.nan, f"it gave {made}")
