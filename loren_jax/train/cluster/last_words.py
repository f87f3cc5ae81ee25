"""What a process can no longer say itself: it was killed, or JAX ended it with the coordinator.

A process that loses its coordinator is ended by JAX at once. So a small one stands beside it, which
outlives it, and says on the same standard error who is gone. It is this very file, run as a script.
"""

import signal
import socket
import subprocess
import sys


class LastWords:
    """The small process beside this one.

    Args:
        index: Number of this process.
        coordinator: HOST:PORT of process 0.
    """

    def __init__(self, index: int, coordinator: str):
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(index), coordinator],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )

    def unsaid(self) -> None:
        """There is nothing to say: this process ends by itself."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"bye")
            self._process.stdin.close()
        except OSError:
            return
        self._process.wait()


def spoken(index: int, coordinator: str) -> str:
    """What there is to say of a process that ended without a word.

    Args:
        index: Number of the process.
        coordinator: HOST:PORT of process 0.

    Returns:
        One line.
    """
    host, _, port = coordinator.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return (
            f"loren-jax: error: process 0, the coordinator at {coordinator}, is gone, and process "
            f"{index} ended with it; the journal has every step"
        )
    return f"loren-jax: error: process {index} was killed"


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they are meant for the parent
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read() != b"bye":
        print(spoken(int(sys.argv[1]), sys.argv[2]), file=sys.stderr, flush=True)
