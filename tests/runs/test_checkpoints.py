"""Checkpoints: bits in, bits out, and what a crash left of one is passed over."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax import loren, noise, trained
from loren_jax.runs.checkpoints import Checkpoint, Checkpoints

PARAMS = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(3, jnp.bfloat16)}


def trees(step):
    """The state has a typed key, integers and empty parts."""
    state = trained(loren(0.1), lambda path: path == "w").init(PARAMS)
    return {"trained": {"w": PARAMS["w"] + step}, "state": state}


def saved(directory, *steps):
    for step in steps:
        Checkpoints(directory).save(Checkpoint(step, trees(step), {"best": step}))
    return directory


def newest(directory, until, like=None):
    """As another process finds it."""
    return Checkpoints(directory).newest(trees(0) if like is None else like, until)


def assert_bits(found, expected):
    data = lambda x: noise.words(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(data(a), data(b)), found, expected)


def test_bits_in_bits_out_and_two_are_kept(tmp_path):
    directory = saved(tmp_path / "c", 10, 20, 30)
    assert not (directory / "10").exists()
    for until, step in ((100, 30), (29, 20)):
        found = newest(directory, until)
        assert (found.step, found.facts) == (step, {"best": step})
        assert_bits(found.trees, trees(step))
        assert jax.tree.structure(found.trees) == jax.tree.structure(trees(0))
    assert not (directory / "30").exists()  # beyond what the journal had
    assert newest(directory, 19) is None
    assert newest(tmp_path / "nothing", 100) is None


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "no checkpoint": shutil.rmtree,
    "no arrays": lambda path: shutil.rmtree(path / "arrays"),
    "no facts": lambda path: shutil.rmtree(path / "facts"),
    "half the facts": lambda path: (path / "facts" / "metadata").write_text('{"best": 2, '),
    "a flipped bit": lambda path: flip(
        max((path / "arrays" / "d").rglob("*"), key=lambda p: p.stat().st_size)
    ),
}


# Orbax gives up at the first array that is damaged, and closes what it read the others with.
@pytest.mark.filterwarnings("ignore:Exc.*ignored:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_whole_is_passed_over(tmp_path, damage):
    directory = saved(tmp_path, 10, 20)
    DAMAGES[damage](tmp_path / "20")
    assert newest(directory, 100).step == 10
    saved(directory, 20)
    assert newest(directory, 100).step == 20


def test_those_of_another_model_are_passed_over(tmp_path):
    other = {**trees(0), "trained": {"w": jnp.ones((3, 2))}}
    assert newest(saved(tmp_path, 10), 100, like=other) is None
