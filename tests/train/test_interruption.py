"""Signals are wishes, up to the third."""

import os
import signal
import threading

import pytest
from loren_jax.train.interruption import Interruption


@pytest.fixture
def interrupts():
    """Python's own handler, which it leaves out where the shell ignores the signal (`sh ... &`)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("interrupts")
def test_signals_are_counted(number, capsys):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        assert not interruption.requested
        os.kill(os.getpid(), number)
        assert (interruption.requested, interruption.urgent) == (True, False)
        assert "stopping after this step" in capsys.readouterr().err
        os.kill(os.getpid(), number)
        assert interruption.urgent
        assert "skipping the last evaluation" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_other_threads_do_without():
    counts = []

    def work():
        with Interruption() as interruption:
            counts.append(interruption.count)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert counts == [0]
