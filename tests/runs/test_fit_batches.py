"""`loren_jax.fit`: what may be given to it; runs that are killed have tests of their own."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import loren_jax
from loren_jax.runs._fit import _by_number

BATCHES = np.random.default_rng(0).standard_normal((5, 4, 3)).astype(np.float32)


def loss(params, batch):
    return jnp.mean((batch @ params["w"] - 1.0) ** 2)


def fitted(directory, batches, steps, **options):
    params, optimizer = {"w": jnp.zeros(3)}, loren_jax.loren(0.1, num_directions=2)
    return loren_jax.fit(
        loss, params, batches, optimizer=optimizer, directory=directory, steps=steps, **options
    )


def test_all_kinds_of_batches_make_the_same_run_also_where_it_goes_on(tmp_path):
    """Of an iterator those that were seen are skipped."""
    kinds = {
        "function": lambda: lambda step: BATCHES[step % 5],
        "list": lambda: list(BATCHES),
        "array": lambda: BATCHES,
        "iterator": lambda: (BATCHES[step % 5] for step in range(7)),
    }
    expected = fitted(tmp_path / "whole", BATCHES, 7)
    assert np.any(expected.params["w"])
    for name, make in kinds.items():
        fitted(tmp_path / name, make(), 3)
        found = fitted(tmp_path / name, make(), 7)
        np.testing.assert_array_equal(found.params["w"], expected.params["w"], err_msg=name)
        assert found.summary.steps == 7


@pytest.mark.usefixtures("without_checked_annotations")
@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        ((), ValueError, "batches is empty: give one batch or more"),
        (np.zeros((0, 4, 3)), ValueError, "batches is empty: give one batch or more"),
        (3, TypeError, "batches is a int: give a function of the step's number, a sequence, or"),
        (iter(BATCHES[:2]), ValueError, "batches ended before step 2: give more, or fewer steps, "),
        (iter(()), ValueError, "batches ended before step 0: give more, or fewer steps, or a seq"),
    ],
)
def test_what_is_no_batches_is_told_in_one_line(tmp_path, batches, error, message):
    with pytest.raises(error, match=re.escape(message)) as raised:
        fitted(tmp_path / "run", batches, 4)
    assert "\n" not in str(raised.value)


def test_an_iterator_gives_its_first_again_and_skips_to_any_later_one():
    """The first is looked at before a run that goes on."""
    batch = _by_number(iter(range(9)))
    assert [batch(step) for step in (0, 0, 4, 5, 8)] == [0, 0, 4, 5, 8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"select": "loss"}, "select names a score, but there is no evaluate"),
        ({"evaluate": loss, "patience": 2}, "pass select too"),
        ({"eval_every": 0}, "eval_every must be at least 1"),
        ({"trained": ["head/*"]}, "trained: 'head/*' matches no parameter"),
    ],
)
def test_options_that_cannot_be(tmp_path, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        fitted(tmp_path / "run", BATCHES, 1, **options)


def test_scores_are_numbers_by_name_and_the_best_are_kept(tmp_path):
    """The error rises and falls again: the lowest is kept, which is not the last."""
    seen = []

    def evaluate(params):
        seen.append(np.array(params["w"]))
        return {"error": jnp.asarray([3.0, 1.0, 2.0][len(seen) - 1])}

    options = {"evaluate": evaluate, "eval_every": 2, "select": "-error"}
    found = fitted(tmp_path / "run", BATCHES, 4, **options)
    assert (found.summary.selected_step, found.summary.after) == (2, {"error": 1.0})
    np.testing.assert_array_equal(found.params["w"], seen[1])
    plain = fitted(tmp_path / "plain", BATCHES, 1, evaluate=lambda params: jnp.ones(()))
    assert plain.summary.after == {"score": 1.0}
    assert (tmp_path / "plain" / "curve.png").exists()


def test_what_is_not_trained_stays(tmp_path):
    params = {"w": jnp.zeros(3), "fixed": jnp.full(3, 2.0)}
    found = loren_jax.fit(
        lambda params, batch: loss(params, batch) + jnp.sum(params["fixed"]),
        params,
        BATCHES,
        optimizer=loren_jax.loren(0.1, num_directions=2),
        directory=tmp_path / "run",
        steps=2,
        trained=["w"],
    )
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params))
    np.testing.assert_array_equal(found.params["fixed"], params["fixed"])
    assert np.any(found.params["w"])
