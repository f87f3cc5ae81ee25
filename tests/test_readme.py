"""What the README shows runs as it is pasted."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax import journal

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def pasted(tmp_path, monkeypatch):
    """Runs the one block with some words in it, in a folder of its own; returns its names."""
    monkeypatch.chdir(tmp_path)

    def run(words):
        (block,) = [block for block in BLOCKS if words in block]
        names = {}
        exec(compile(block, "README.md", "exec"), names)
        return names

    return run


def test_the_journal(pasted):
    names = pasted("journal.create")
    assert names["replayed"].steps == 50
    assert names["replayed"].differences == []
    again = journal.replay(names["base_params"], "run.journal").params
    np.testing.assert_array_equal(again["kernel"], names["params"]["kernel"])
    before, after = (names["loss"](names[n], names["batch"]) for n in ("base_params", "params"))
    assert after < 0.5 * before


def test_who_does_not_copy_is_told_so(pasted, monkeypatch):
    """As the README had it: the parameters that the run began with were donated."""
    names = pasted("journal.create")
    for leaf in names["base_params"].values():
        leaf.delete()
    message = r"^params: the array of leaf 'kernel' has been deleted[^\n]*jnp.copy, params\).$"
    base, optimizer = names["base_params"], names["optimizer"]
    for use in (
        lambda: journal.replay(base, "run.journal"),
        lambda: journal.header(base, (6, 1)),
        lambda: journal.Session(base, optimizer),
        lambda: journal.Session.resumed(base, "run.journal"),
    ):
        with pytest.raises(ValueError, match=message):
            use()
    state = optimizer.init({"kernel": jnp.zeros((8, 1))})
    state[0].losses.delete()
    with pytest.raises(ValueError, match=r"^state: the array of leaf '0/losses' has been deleted"):
        journal.Session(names["params"], optimizer, state=state)
