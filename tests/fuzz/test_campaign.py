"""A minute of random programs; `python -m tests.fuzz` runs them for hours."""

import itertools
from dataclasses import replace

import jax
import pytest

from loren_jax.evaluation.perturbed import rules
from loren_jax.evaluation.perturbed.interpreter import bind

from . import campaign


@pytest.fixture(autouse=True)
def ranks_are_promoted_as_for_users():
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.slow
def test_perturbed_evaluation_agrees_with_copies_in_double_precision():
    """Seeds in a fixed order; the time limit says how many of them, not which."""
    failed = []
    note = lambda program, verdict: failed.append(f"{program.text}\n  {verdict.what}")
    report = campaign.run(itertools.count(0), seconds=60, on_failure=note)
    assert not failed, f"{report}\n\n" + "\n\n".join(failed)
    # What compares nothing finds nothing.
    assert report.kinds["right"] > report.programs / 2, report
    assert report.kinds["skipped"] + report.kinds["undrawn"] < report.programs / 5, report


def test_a_wrong_rule_is_found(monkeypatch):
    """A rule that turns the weight and forgets the factors."""

    def forgetful(interpreter, equation, inputs):
        (leaf,) = inputs
        return replace(leaf, weight=bind(equation, (leaf.weight,)))

    monkeypatch.setitem(rules.RULES, "rev", forgetful)
    report = campaign.run(iter(range(8)), only="rev", reduce=False)
    assert report.kinds["wrong"] > 0
