"""What `fit` takes as batches, and what it says of anything else."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

import loren_jax
from loren_jax.runs import fit
from loren_jax.runs._fit import _by_number

BATCHES = np.random.default_rng(0).standard_normal((7, 8, 3)).astype(np.float32)
PARAMS, OPTIMIZER = {"w": np.ones(3, np.float32)}, loren_jax.loren(0.05)


def loss(params, batch):
    return jnp.mean((batch @ params["w"]) ** 2)


@pytest.mark.usefixtures("without_checked_annotations")
@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        ((), ValueError, "batches is empty: give one batch or more"),
        (np.zeros((0, 4, 3)), ValueError, "batches is empty: give one batch or more"),
        ({"x": BATCHES}, TypeError, "batches is a dict, which is one batch: give [batch], or a "),
        (3, TypeError, "batches is a int: give a function of the step's number, a sequence, or"),
        (iter(BATCHES[:2]), ValueError, "batches ended before step 2: give more, or fewer steps, "),
        (iter(()), ValueError, "batches ended before step 0: give more, or fewer steps, or a seq"),
    ],
)
def test_what_is_no_batches_is_told_in_one_line(tmp_path, batches, error, message):
    with pytest.raises(error, match=re.escape(message)) as raised:
        fit(loss, PARAMS, batches, optimizer=OPTIMIZER, directory=tmp_path / "run", steps=12)
    assert "\n" not in str(raised.value)


def test_an_iterator_gives_its_first_again_and_skips_to_any_later_one():
    """The first is looked at before a run that goes on."""
    batch = _by_number(iter(range(9)))
    assert [batch(step) for step in (0, 0, 4, 5, 8)] == [0, 0, 4, 5, 8]
