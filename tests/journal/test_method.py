"""An optimiser is the same after its description was written and read."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax import journal

PARAMS = {"w": jnp.ones((4, 3)), "b": jnp.ones(3)}


def after_two_steps(optimizer):
    params, state = PARAMS, optimizer.init(PARAMS)
    losses = jnp.arange(float(np.prod(state[0].losses.shape))).reshape(state[0].losses.shape)
    for _ in range(2):
        updates, state = optimizer.update(None, state, params, losses=losses)
        params = jax.tree.map(jnp.add, params, updates)
    return params


def test_it_builds_the_optimiser_that_it_describes():
    method = journal.Method(
        "loren",
        {"learning_rate": 1.0, "rank": 1, "momentum": None},
        schedule={
            "name": "linear_schedule",
            "arguments": {"init_value": 0.1, "end_value": 0.0, "transition_steps": 4},
        },
        trained=["w"],
        seed=7,
    )
    read = journal.Method.from_json(json.loads(json.dumps(method.as_json())))
    whole = loren_jax.loren(optax.linear_schedule(0.1, 0.0, 4), rank=1, momentum=None, key=7)
    direct = loren_jax.trained(whole, {"w": True, "b": False})
    found, expected = after_two_steps(read.build()), after_two_steps(direct)
    np.testing.assert_array_equal(found["w"], expected["w"])
    np.testing.assert_array_equal(found["b"], PARAMS["b"])
    assert not np.array_equal(found["w"], PARAMS["w"])


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (journal.Method("sgd", {}), "'sgd' is not known"),
        (journal.Method("__class__", {}), "not known"),
        (
            journal.Method("mezo", {}, schedule={"name": "eval", "arguments": {}}),
            "schedule 'eval' is none of",
        ),
    ],
)
def test_unknown_names_are_refused(method, message):
    with pytest.raises(journal.JournalError, match=message):
        method.build()


def test_a_knob_that_is_an_array_or_a_tree_is_refused():
    """As the fan-in vectors that `input_subspace` takes: they would be lost."""
    with pytest.raises(journal.JournalError, match=r"knob 'factors' is a dict.*optimizer="):
        journal.Method("input_subspace", {"factors": {"w": np.ones((4, 1))}})


def test_what_a_file_names_is_not_imported_unasked(tmp_path, monkeypatch):
    """A journal may come from anyone."""
    (tmp_path / "hostile.py").write_text("raise SystemExit('run')\ndef method(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    values = journal.Method("loren", {"learning_rate": 0.1}).as_json() | {"name": "hostile:method"}
    for use in (journal.Method.from_json, lambda v: journal.Method(v["name"], v["knobs"])):
        with pytest.raises(journal.JournalError, match=r"is not run unasked: if you trust it"):
            use(values)
    assert "hostile" not in sys.modules
    with pytest.raises(ValueError, match="name a factory of your own as MODULE:FUNCTION"):
        journal.allow("hostile")
