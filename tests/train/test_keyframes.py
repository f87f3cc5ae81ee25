"""Keyframes: bits in, bits out, and what a crash left of one is passed over."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loren_jax.train.keyframes import Keyframe, Keyframes

from loren_jax import loren, noise, trained

PARAMS = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(3, jnp.bfloat16)}


def trees(step):
    """The state has a typed key, integers and empty parts."""
    state = trained(loren(0.1), lambda path: path == "w").init(PARAMS)
    return {"trained": {"w": PARAMS["w"] + step}, "state": state}


def saved(directory, *steps):
    frames = Keyframes(directory)
    for step in steps:
        frames.save(Keyframe(step, trees(step), {"best": step}))
    return frames


def assert_bits(found, expected):
    data = lambda x: noise.words(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(data(a), data(b)), found, expected)


def test_bits_in_bits_out_and_two_are_kept(tmp_path):
    frames = saved(tmp_path / "k", 10, 20, 30)
    assert frames.steps() == [30, 20]
    assert not (tmp_path / "k" / "10").exists()
    for until, step in ((100, 30), (29, 20)):
        found = frames.newest(trees(0), until)
        assert (found.step, found.facts) == (step, {"best": step})
        assert_bits(found.trees, trees(step))
        assert jax.tree.structure(found.trees) == jax.tree.structure(trees(0))
    assert frames.newest(trees(0), 19) is None
    frames.drop_after(20)
    assert frames.steps() == [20]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "no checkpoint": lambda frame: shutil.rmtree(frame),
    "half a checkpoint": lambda frame: shutil.rmtree(frame / "d"),
    "a flipped bit": lambda frame: flip(
        max((frame / "d").rglob("*"), key=lambda p: p.stat().st_size)
    ),
    "no file": lambda frame: frame.with_suffix(".json").unlink(),
    "half a file": lambda frame: frame.with_suffix(".json").write_text('{"step": 20, '),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_whole_is_passed_over(tmp_path, damage):
    frames = saved(tmp_path, 10, 20)
    DAMAGES[damage](tmp_path / "20")
    assert frames.newest(trees(0), 100).step == 10
    frames.save(Keyframe(20, trees(20), {}))
    assert frames.newest(trees(0), 100).step == 20


def test_those_of_another_model_are_passed_over(tmp_path):
    frames = saved(tmp_path, 10)
    other = trees(0)
    other["trained"] = {"w": jnp.ones((3, 2))}
    assert frames.newest(other, 100) is None
