"""The harness that tries other people's code: what it finds, says and counts."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.evidence.compatibility import comparison, page
from benchmarks.evidence.compatibility.cases import Case, Cases

OPERATIONS = Path(comparison.__file__).parent / "operations"
X = jnp.cos(jnp.arange(32.0)).reshape(4, 8)
W = {"w": jnp.sin(jnp.arange(64.0)).reshape(8, 8)}


def row(loss, params=W, **options):
    return comparison.compare("mine 1.0", Case("a case", lambda: (params, loss), **options))


def test_a_loss_that_runs_has_equal_losses_and_no_leaf_that_is_built():
    found = row(lambda p: jnp.mean(jnp.tanh(X @ p["w"]) ** 2))
    assert found.failed == {}
    assert found.equal
    assert found.difference < 2e-3
    assert (found.dense, found.leaves) == ([], 1)


def test_a_leaf_that_is_built_is_named_with_what_to_do():
    ((path, primitive, advice),) = row(lambda p: jnp.mean((X @ jnp.sign(p["w"] - 2e-3)) ** 2)).dense
    assert (path, primitive) == ("w", "sign")
    assert "trained(optimizer, mask)" in advice


def test_losses_that_differ_are_wrong_and_small_differences_are_rounding():
    losses = np.array([1.0, 1.1, 1.3])
    assert comparison.differing(losses, losses + 1e-4, 2e-3) == (pytest.approx(1e-4 / 0.3), True)
    assert comparison.differing(losses, losses + 1e-2, 2e-3) == (pytest.approx(1e-2 / 0.3), False)
    assert comparison.differing(losses + np.nan, losses, 2e-3) == (float("inf"), False)


def test_losses_that_do_not_move_prove_nothing():
    found = row(lambda p: jnp.sum(p["w"] * 0.0))
    assert set(found.failed) == set(comparison.METHODS)
    assert all("tell nothing" in why for why in found.failed.values())
    assert not found.equal


def test_an_error_is_one_line_and_says_which_stage_failed():
    def broken(p):
        raise RuntimeError("two\nlines")

    assert row(broken).failed == {"the loss itself": "RuntimeError: two lines"}


@pytest.mark.slow
def test_what_is_frozen_is_no_leaf_of_the_case():
    params = W | {"codes": jnp.arange(8)}
    loss = lambda p: jnp.mean((X @ p["w"] + p["codes"]) ** 2)
    with jax.numpy_rank_promotion("allow"):
        assert row(loss, params, mask=lambda path: path == "w").equal


def test_cases_are_named_by_their_docstrings():
    cases = Cases("jax")

    @cases(scale=0.5)
    def one():
        """The first."""
        return W, jnp.sum

    cases.of(W, {"the second": jnp.sum}, remark="why")
    assert [(c.name, c.scale, c.remark) for c in cases.all] == [
        ("The first", 0.5, ""),
        ("the second", 1e-2, "why"),
    ]
    assert cases.library == f"jax {jax.__version__}"


def test_the_page_counts_what_failed_what_differs_and_what_is_built():
    good = row(lambda p: jnp.mean((X @ p["w"]) ** 2))._asdict() | {"file": "mine"}
    wrong = good | {"case": "a|b", "equal": False, "difference": 0.5}
    failed = good | {"failed": {"mezo": "TypeError: no"}, "difference": None}
    built = good | {"dense": [("w", "sign", "Do not.")]}
    text = page.page([good, wrong, failed, built, {"file": "theirs", "absent": "No module"}])
    assert "4 cases: 3 run, in 1 the losses differ, 1 build a leaf." in text
    assert "| mine 1.0 | a/b | yes | **5e-01** | none |  |" in text
    assert "| **mezo**: TypeError: no | - | none |" in text
    assert "* `sign`: Do not." in text
    assert "* theirs: No module" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(p.stem for p in OPERATIONS.glob("*.py")))
def test_every_operation_is_a_scalar_loss(name, monkeypatch):
    cases = importlib.import_module(f"{comparison.__package__}.operations.{name}").cases
    assert cases.all
    with jax.numpy_rank_promotion("allow"):
        for case in cases.all:
            with jax.enable_x64(case.float64):
                params, loss = case.build()
                assert jax.eval_shape(loss, params).shape == (), case.name
