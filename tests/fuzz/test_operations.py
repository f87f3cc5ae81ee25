"""The table holds every public function of `jax.lax` that takes arrays."""

import jax
import pytest

from .omissions import OMITTED
from .operations.table import TABLE
from .programs import draw


def functions(module):
    """Public functions: no classes, no type aliases, no primitives, no other modules."""
    names = [n for n in dir(module) if n[0].islower() and not n.endswith("_p")]
    return [n for n in names if callable(getattr(module, n))]


COVERED = {name for entry in TABLE.values() for name in entry.covers}


def test_every_function_is_in_the_table_or_omitted_for_a_reason():
    known = COVERED | set(OMITTED)
    ordinary = [n for n in functions(jax.lax) if n not in known]
    linear = [n for n in functions(jax.lax.linalg) if f"linalg.{n}" not in known]
    assert ordinary == []
    assert linear == []


def test_no_function_is_both_covered_and_omitted():
    assert not COVERED & set(OMITTED)


@pytest.mark.parametrize("seed", [0, 41, 1000])
def test_a_seed_draws_the_same_program_again(seed):
    first, second = draw(seed), draw(seed)
    assert first.text == second.text
    assert all((a == b).all() for a, b in zip(first.weights, second.weights, strict=True))
