"""The table holds every public function of `jax.lax` that takes arrays."""

import inspect

import jax
import pytest

from .omissions import OMITTED
from .operations.table import TABLE
from .programs import draw


def functions(module):
    """Public functions: no classes, no primitives, no other modules."""
    names = [name for name in dir(module) if not name.startswith("_")]
    return [n for n in names if inspect.isroutine(getattr(module, n)) or _is_wrapped(module, n)]


def _is_wrapped(module, name):
    value = getattr(module, name)
    return callable(value) and not inspect.isclass(value) and not name.endswith("_p")


COVERED = {name for entry in TABLE.values() for name in entry.covers}


def test_every_function_is_in_the_table_or_omitted_for_a_reason():
    known = COVERED | set(OMITTED)
    ordinary = [n for n in functions(jax.lax) if n not in known and n not in NOT_OF_ARRAYS]
    linear = [n for n in functions(jax.lax.linalg) if f"linalg.{n}" not in known]
    assert ordinary == []
    assert linear == []


def test_no_function_is_both_covered_and_omitted():
    assert not COVERED & set(OMITTED)


NOT_OF_ARRAYS = {"PrecisionLike"}
"""Type aliases, which can be called but are no functions."""


@pytest.mark.parametrize("seed", [0, 41, 1000])
def test_a_seed_draws_the_same_program_again(seed):
    first, second = draw(seed), draw(seed)
    assert first.text == second.text
    assert all((a == b).all() for a, b in zip(first.weights, second.weights, strict=True))
