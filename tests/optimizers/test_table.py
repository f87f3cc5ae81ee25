"""The table of methods, and what depends on it by hand."""

import inspect
import re

import methods
import pytest

import loren_jax
from loren_jax import optimizers
from loren_jax.train.options import FOUND


@pytest.mark.parametrize("name", optimizers.METHODS)
def test_every_method_has_a_row_of_the_contract_suite(name):
    rows = [row for key, row in methods.METHODS.items() if key.split()[0] == name]
    assert rows, f"add a row {name!r} to METHODS in tests/methods.py"
    for row in rows:
        assert inspect.unwrap(row.make) is inspect.unwrap(optimizers.METHODS[name].factory)


@pytest.mark.parametrize("entry", optimizers.METHODS.values(), ids=optimizers.METHODS)
def test_an_entry_says_what_its_factory_is(entry):
    assert getattr(loren_jax, entry.name) is entry.factory
    needed = inspect.signature(entry.factory).parameters.keys() & FOUND
    optimizer = entry.factory(1.0, **{name: FOUND[name] for name in needed})
    assert entry.scheme is getattr(loren_jax.schemes, entry.scheme.__name__)
    assert optimizer.scheme.points == entry.scheme().points
    assert optimizer.scheme.min_directions == entry.scheme().min_directions
    assert re.fullmatch(r"arXiv \d{4}\.\d{5}|benchmarks/\w+\.md", entry.reference)
    assert entry.summary.endswith(".")


def test_the_steps_on_all_data_follow_an_argument_of_the_factory():
    named = {e.name: e.full_every for e in optimizers.METHODS.values() if e.full_every}
    assert named == {"mezo_svrg": "every"}
    assert "every" in inspect.signature(loren_jax.mezo_svrg).parameters


@pytest.mark.parametrize("entry", optimizers.METHODS.values(), ids=optimizers.METHODS)
def test_published_settings_are_arguments_of_the_factory(entry):
    if entry.name == "input_subspace":
        with pytest.raises(ValueError, match="this library's own"):
            loren_jax.published(entry.name)
        return
    settings = loren_jax.published(entry.name)
    assert settings.keys() <= inspect.signature(entry.factory).parameters.keys()
    assert "learning_rate" not in settings
    entry.factory(1e-3, **settings)
    # What a paper does not know of, it does not set: full Gaussian directions are named.
    if inspect.signature(entry.factory).parameters.get("rank"):
        assert "rank" in settings or entry.name == "tezo"


def test_a_method_that_is_not_known_has_no_settings():
    with pytest.raises(ValueError, match="method 'adam' is unknown; the methods are loren, "):
        loren_jax.published("adam")
