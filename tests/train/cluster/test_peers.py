"""Peers that are threads of one process, with a dictionary for JAX's key-value store."""

import os
import threading
import time

import pytest
from loren_jax.train.cluster import peers as module
from loren_jax.train.cluster.alone import Alone
from loren_jax.train.cluster.peers import PeerError, Peers


class Store:
    """As much of the coordination service's client as peers use."""

    def __init__(self):
        self.values, self.changed = {}, threading.Condition()

    def key_value_set(self, key, value, allow_overwrite=False):
        with self.changed:
            if key in self.values and not allow_overwrite:
                raise ValueError("ALREADY_EXISTS: " + key)
            self.values[key] = value
            self.changed.notify_all()

    def key_value_try_get(self, key):
        with self.changed:
            if key not in self.values:
                raise ValueError("NOT_FOUND: " + key)
            return self.values[key]

    def key_value_dir_get(self, prefix):
        with self.changed:
            return [(k, v) for k, v in self.values.items() if k.startswith(prefix)]

    def blocking_key_value_get(self, key, milliseconds):
        with self.changed:
            if not self.changed.wait_for(lambda: key in self.values, milliseconds / 1000):
                raise ValueError("DEADLINE_EXCEEDED: " + key)
            return self.values[key]


@pytest.fixture
def group(monkeypatch):
    """Makes peers, and ends their threads."""
    monkeypatch.setattr(module, "_BEAT", 0.02)
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    monkeypatch.setattr(module, "LastWords", lambda *arguments: None)
    monkeypatch.setattr(module.atexit, "register", lambda function: None)
    exits = []
    monkeypatch.setattr(os, "_exit", exits.append)
    made = []

    def make(count, peer_timeout=5.0, step_timeout=60.0):
        store = Store()
        limits = {"peer_timeout": peer_timeout, "step_timeout": step_timeout}
        made.extend(Peers(store, i, count, coordinator="a:1", **limits) for i in range(count))
        return made

    make.exits = exits
    yield make
    for peers in made:
        peers._ended = True
    time.sleep(0.1)


def together(*calls):
    """What calls give that wait for each other."""
    found = [None] * len(calls)

    def work(number):
        try:
            found[number] = calls[number]()
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return found


def test_one_tells_all_and_all_tell_each_other(group):
    peers = group(3)
    assert together(*[lambda p=p: p.share(lambda: "text") for p in peers]) == ["text"] * 3
    found = together(*[lambda p=p: p.numbers(10 - p.index) for p in peers])
    assert found == [[10, 9, 8]] * 3


def test_a_wish_to_stop_is_followed_behind_the_same_step(group):
    """However far apart the processes are when one of them has it."""
    peers = group(3)

    def run(one, pause, wish_at):
        step = 0
        while not one.stopping(step >= wish_at):
            time.sleep(pause)
            step += 1
        return step

    speeds = zip(peers, (0.001, 0.004, 0.01), (10**6, 10**6, 5), strict=True)
    steps = together(*[lambda p=p, s=s, w=w: run(p, s, w) for p, s, w in speeds])
    assert len(set(steps)) == 1
    assert steps[0] >= 5


def test_one_that_falls_silent_ends_the_others(group):
    peers = group(3, peer_timeout=0.5)
    together(*[lambda p=p: p.share(lambda: "text") for p in peers])
    peers[2]._ended = True  # its threads stop

    def wait(one):
        while True:
            one.alive()
            time.sleep(0.01)

    for error in together(lambda: wait(peers[0]), lambda: wait(peers[1])):
        assert isinstance(error, PeerError)
        assert str(error).startswith("process 2 has not been heard of for")


def test_silence_of_the_first_is_noticed_by_the_others(group, capsys):
    peers = group(2, peer_timeout=0.4)
    together(*[lambda p=p: p.share(lambda: "text") for p in peers])
    peers[0]._ended = True
    time.sleep(1.5)  # the second is stuck in a collective operation
    assert group.exits == [2]
    assert "process 0, the coordinator, has not been heard of" in capsys.readouterr().err


def test_an_error_of_ones_own_is_told_to_the_others(group):
    peers = group(2)
    together(*[lambda p=p: p.share(lambda: "text") for p in peers])
    own = OSError("the disk is full")
    assert peers[1].attributed(own) is own
    # The first sees nothing but a connection that broke.
    broken = ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer")
    assert str(peers[0].attributed(broken)) == "process 1 failed: the disk is full"


def test_one_process_alone_decides_for_itself():
    one = Alone()
    assert one.first
    assert one.stopping(True)
    assert one.share(lambda: "text") == "text"
    assert one.numbers(3) == [3]
