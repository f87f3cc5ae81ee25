"""A run reads its leaves as matrices by the axes that its loss tells, and its journal says so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from methods import METHODS

import loren_jax
from loren_jax import journal
from loren_jax.directions import attention_axes
from loren_jax.parts import trained
from loren_jax.transformation import form
from loren_jax.types import MatrixAxes

X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 16)), jnp.float32)
PARAMS = {"query": jnp.ones((16, 2, 8)), "kernel": jnp.ones((2, 8, 4))}
AXES = {"kernel": [[0, 1], [2]], "query": [[0], [1, 2]]}


def loss(params, batch):
    heads = jnp.tanh(jnp.einsum("bi,ihd->bhd", X * batch, params["query"]))
    return jnp.mean(jnp.einsum("bhd,hdo->bo", heads, params["kernel"]) ** 2)


def run(directory, optimizer, steps=4, **options):
    batches = [1.0, 0.5]
    fitted = loren_jax.fit(
        loss, PARAMS, batches, optimizer=optimizer, directory=directory, steps=steps, **options
    )
    return fitted.params, journal.read(directory / "run.journal")


def same(one, other):
    return jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, other))


PLAIN = lambda **options: loren_jax.loren(0.01, rank=1, **options)
DESCRIBED = lambda: journal.Method("loren", {"learning_rate": 0.01, "rank": 1})


@pytest.mark.parametrize("make", [PLAIN, DESCRIBED])
def test_a_run_is_that_with_the_axes_given(make, tmp_path):
    params, recorded = run(tmp_path / "a", make())
    assert journal.axes_of(recorded.header) == AXES
    axes = lambda path, shape: MatrixAxes(*map(tuple, AXES[path]))
    wanted, other = run(tmp_path / "b", PLAIN(matrix_axes=axes))
    assert same(params, wanted)
    assert journal.axes_of(other.header) is None
    by_name, _ = run(tmp_path / "c", PLAIN(matrix_axes=lambda path, shape: None))
    assert not same(params, by_name)


@pytest.mark.parametrize("make", [pytest.param(PLAIN, marks=pytest.mark.slow), DESCRIBED])
def test_it_goes_on_and_is_replayed(make, tmp_path):
    wanted, _ = run(tmp_path / "a", make())
    run(tmp_path / "b", make(), steps=2)
    params, recorded = run(tmp_path / "b", make())
    assert same(params, wanted)
    given = {} if make is DESCRIBED else {"optimizer": make()}
    assert same(journal.replay(PARAMS, recorded, **given).params, wanted)


@pytest.mark.parametrize("make", [pytest.param(PLAIN, marks=pytest.mark.slow), DESCRIBED])
def test_a_run_of_an_earlier_version_goes_on_by_names(make, tmp_path, monkeypatch):
    monkeypatch.setattr("loren_jax.runs.axes._axes_of_use", lambda run: {})
    wanted, _ = run(tmp_path / "a", make())
    run(tmp_path / "b", make(), steps=2)
    monkeypatch.undo()
    params, recorded = run(tmp_path / "b", make())
    assert same(params, wanted)
    assert not journal.axes_of(recorded.header)


def test_axes_that_are_chosen_stay(tmp_path):
    chosen = journal.Method(**{**vars(DESCRIBED()), "matrix_axes": "attention_axes"})
    params, recorded = run(tmp_path / "a", chosen)
    assert journal.axes_of(recorded.header) == "attention_axes"
    wanted, _ = run(tmp_path / "b", PLAIN(matrix_axes=attention_axes))
    assert same(params, wanted)


def test_of_a_part(tmp_path):
    params, recorded = run(tmp_path / "a", PLAIN(), trained=["query"])
    assert (params["kernel"] == 1).all()
    assert journal.axes_of(recorded.header) == AXES


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_made_again_with_axes(name):
    optimizer = METHODS[name].make(0.1)
    if name == "input_subspace":  # its vectors are made along the axes that it is given
        assert form(optimizer, "rebuild") is None
        return
    axes = lambda path, shape: MatrixAxes(0, 1)
    for one in (optimizer, trained(optimizer, lambda path: True)):
        again = form(one, "rebuild")(axes)
        assert jax.tree.structure(again.init({"a": jnp.ones((4, 6))}))
        assert form(again, "rebuild") is None
