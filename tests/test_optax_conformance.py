"""Optax's own suite for contributed optimisers, as it ships in its wheel, run on LOREN.

Nobody here wrote these tests. `sophia` is the one entry to which the suite passes the objective (as
`obj_fn`), so LOREN takes its place; the list of optimisers is cut to that one entry. Typed keys are
turned into numbers before NumPy compares them.
"""

import importlib.util
import types
import unittest

import optax
import pytest
from optax import contrib
from optax._src import test_utils

import loren_jax


def sophia(
    learning_rate: optax.ScalarOrSchedule, num_directions: int = 4, damping: float = 1.0
) -> optax.GradientTransformationExtraArgs:
    """LOREN under the suite's name for the objective.

    Its convergence tests have two and three dimensions, of which the default damping of 0.1 would
    all but switch one off.
    """
    inner = loren_jax.loren(
        learning_rate, num_directions=num_directions, damping=damping, momentum=None
    )

    def update(updates, state, params=None, *, obj_fn=None, **extra):
        del updates  # a gradient
        return inner.update(None, state, params, value_fn=obj_fn, **extra)

    return optax.GradientTransformationExtraArgs(inner.init, update)


def suite() -> types.ModuleType:
    path = importlib.util.find_spec("optax.contrib._common_test").origin
    with open(path, encoding="utf-8") as file:
        source = file.read()
    source = _replaced(
        source,
        "_ALL_OPTIMIZERS_UNDER_TEST = tuple(",
        "_MAIN_OPTIMIZERS_UNDER_TEST = [{'opt_name': 'sophia', 'wrapper_name': None, "
        "'wrapper_kwargs': None, 'opt_kwargs': {'learning_rate': 1e-3}}]\n"
        "_OTHER_OPTIMIZERS_UNDER_TEST = []\n"
        "_ALL_OPTIMIZERS_UNDER_TEST = tuple(",
    )
    # The suite's list of arguments that fix shapes and cannot be injected.
    source = _replaced(source, "in ['warmup_steps',", "in ['num_directions', 'warmup_steps',")
    module = types.ModuleType("optax_contributed_suite")
    module.__file__ = path
    exec(compile(source, path, "exec"), module.__dict__)
    return module


def _replaced(source: str, old: str, new: str) -> str:
    assert source.count(old) == 1, f"Optax's suite has changed: {old!r} is not there once"
    return source.replace(old, new)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_contributed_optimizers_suite(monkeypatch):
    close = test_utils.assert_trees_all_close

    def assert_trees_all_close(a, b, *args, **kwargs):
        numbers = optax.tree.unwrap_random_key_data
        close(numbers(a), numbers(b), *args, **kwargs)

    monkeypatch.setattr(contrib, "sophia", sophia)
    monkeypatch.setattr(test_utils, "assert_trees_all_close", assert_trees_all_close)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(suite()).run(result)
    problems = "\n".join(text for _, text in result.errors + result.failures)
    assert result.wasSuccessful(), problems
    assert result.testsRun >= 15
    assert len(result.skipped) <= 1, result.skipped
