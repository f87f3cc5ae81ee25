"""Signals are requests, up to the third."""

import os
import signal
import threading

import pytest

from loren_jax.runs.interruption import Interruption


@pytest.fixture
def interrupts():
    """Python's own handler, which it leaves out where the shell ignores the signal (`sh ... &`)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def kill(number, times=1):
    for _ in range(times):
        os.kill(os.getpid(), number)


def evaluates(interruption):
    with interruption.evaluation() as wanted:
        return wanted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("interrupts")
def test_signals_are_counted(number, capsys):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        assert (interruption.requested(0), evaluates(interruption)) == (False, True)
        kill(number)
        assert (interruption.requested(0), evaluates(interruption)) == (True, True)
        assert "stopping after this step" in capsys.readouterr().err
        kill(number)
        assert not evaluates(interruption)
        assert "skipping the last evaluation" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            kill(signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.usefixtures("interrupts")
def test_a_handler_that_is_not_pythons_ends_no_run(monkeypatch):
    """Python gives None for it, and takes none back."""
    own, handlers = signal.signal, {signal.SIGTERM: None}

    def install(number, handler):
        before = own(number, handler)
        return handlers.pop(number, before)

    monkeypatch.setattr(signal, "signal", install)
    with Interruption():
        pass
    own(signal.SIGTERM, signal.SIG_DFL)


def test_other_threads_do_without():
    heard = []

    def work():
        with Interruption() as interruption:
            heard.append(interruption.requested(0))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [False]
