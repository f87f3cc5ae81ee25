"""`fit` with a method that has no learning rate."""

import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import loren_jax
from loren_jax import journal
from loren_jax.evaluation import sharded
from loren_jax.inputs import input_factors
from loren_jax.reports import files
from loren_jax.runs import _fit, fit

BATCHES = np.random.default_rng(0).standard_normal((7, 8, 3)).astype(np.float32)
PARAMS = {"body": {"w": np.ones((3, 2), np.float32)}, "head": np.zeros(2, np.float32)}


def loss(params, batch):
    return jnp.mean((jnp.tanh(batch @ params["body"]["w"]) @ params["head"] - batch[:, 0]) ** 2)


def run(directory, batches=BATCHES, steps=60, **options):
    return fit(loss, PARAMS, batches, directory=directory, steps=steps, **options)


class StoppedError(Exception):
    """What ends a run in the middle, as a crash of its program would."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs") / "whole", evaluate=lambda p: loss(p, BATCHES[0]))


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_it_learns_and_counts_the_search(whole):
    assert whole.summary.after["score"] < 0.6 * whole.summary.before["score"]
    assert whole.summary.forward_passes == 60 * 6 + 76


def test_stopped_it_ends_in_the_same_bits_and_looks_for_no_walk_again(whole, tmp_path, capsys):
    def batch(number):
        if number == 30:
            raise StoppedError
        return BATCHES[number % 7]

    with pytest.raises(StoppedError):
        run(tmp_path / "run", batch)
    assert "no learning rate: the steps together move" in capsys.readouterr().err
    fitted = run(tmp_path / "run")
    assert "no learning rate" not in capsys.readouterr().err
    assert_same(fitted.params, whole.params)
    assert fitted.summary.forward_passes == whole.summary.forward_passes


def test_an_attempt_without_a_step_leaves_no_walk(whole, tmp_path):
    """It was of another loss, and of another number of steps."""

    def broken(params):
        raise StoppedError

    other = lambda params, batch: 0.1 + loss(params, batch) ** 2
    with pytest.raises(StoppedError):
        fit(other, PARAMS, BATCHES, directory=tmp_path / "run", steps=30, evaluate=broken)
    assert (tmp_path / "run" / files.JOURNAL).is_file()
    assert_same(run(tmp_path / "run").params, whole.params)


def test_the_journal_replays_without_the_program(whole):
    found = journal.read(whole.directory / files.JOURNAL)
    assert found.header["method"]["name"] == "loren"
    assert found.header["method"]["schedule"]["automatic"]["steps"] == 60
    assert_same(journal.replay(PARAMS, found).params, whole.params)


def test_batches_may_come_once(whole, tmp_path):
    """The first few are looked at twice."""
    once = (BATCHES[number % 7] for number in itertools.count())
    assert_same(run(tmp_path / "run", once).params, whole.params)


def test_batches_that_end_with_the_run_are_enough_to_find_its_walk(tmp_path):
    fitted = run(tmp_path / "run", iter(BATCHES[:2]), steps=2)
    assert fitted.summary.steps == 2


def test_a_chance_may_be_an_array(tmp_path):
    fitted = run(tmp_path / "run", steps=2, chance=jnp.log(2.0))
    plan = journal.read(fitted.directory / files.JOURNAL).header["method"]["schedule"]["automatic"]
    assert plan["chance"] == pytest.approx(np.log(2.0))


def test_knobs_may_be_scalars_of_arrays(tmp_path):
    optimizer = functools.partial(
        loren_jax.mezo, num_directions=np.int64(2), weight_decay=jnp.zeros(())
    )
    method = journal.read(
        run(tmp_path / "run", optimizer=optimizer, steps=2).directory / files.JOURNAL
    )
    assert method.header["method"]["knobs"]["num_directions"] == 2


def test_any_method_and_a_part_of_the_parameters(tmp_path):
    optimizer = functools.partial(loren_jax.mezo, num_directions=2, key=3)
    fitted = run(tmp_path / "run", optimizer=optimizer, trained=("head",))
    assert_same(fitted.params["body"], PARAMS["body"])
    assert not np.array_equal(fitted.params["head"], PARAMS["head"])
    method = json.loads(json.dumps(journal.read(tmp_path / "run" / files.JOURNAL).header["method"]))
    assert (method["name"], method["seed"], method["trained"]) == ("mezo", 3, ["head"])


def test_along_the_inputs(tmp_path):
    """They lie beside the journal, which needs no program, and a run goes on along the same."""
    factors = input_factors(lambda params: loss(params, BATCHES[0]), PARAMS, count=2)
    along = lambda factors: functools.partial(loren_jax.input_subspace, factors=factors)
    fitted = run(tmp_path / "run", optimizer=along(factors))
    assert float(loss(fitted.params, BATCHES[0])) < 0.9 * float(loss(PARAMS, BATCHES[0]))
    found = journal.read(tmp_path / "run" / files.JOURNAL)
    assert found.header["method"]["name"] == "input_subspace"
    assert_same(journal.replay(PARAMS, found).params, fitted.params)
    assert_same(run(tmp_path / "run", optimizer=along(factors)).params, fitted.params)
    with pytest.raises(ValueError, match="factors"):
        run(tmp_path / "run", optimizer=along({k: 2 * v for k, v in factors.items()}))


def test_more_steps_are_refused(whole):
    with pytest.raises(ValueError, match=r"steps is 90, but the steps of the run in .* at 60"):
        run(whole.directory, steps=90)


def test_another_chance_than_the_run_began_with_is_refused(whole):
    with pytest.raises(ValueError, match=r"chance is 0.5, but the run in .* began with inf"):
        run(whole.directory, chance=0.5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"optimizer": loren_jax.loren(0.1), "chance": 0.5}, "chance is 0.5, which only steps"),
        ({"chance": -1.0}, "chance must be above zero"),
        ({"optimizer": loren_jax.mezo_svrg}, "mezo_svrg, whose learning rate cannot be found"),
        ({"optimizer": loren_jax.input_subspace}, "pass functools.partial"),
        (
            {"optimizer": functools.partial(loren_jax.mezo, learning_rate=0.1)},
            r"is given in a functools.partial: pass loren_jax.mezo\(learning_rate=0.1, ...\), or",
        ),
        (
            {"optimizer": functools.partial(loren_jax.mezo, key=jax.random.key(1))},
            "key is a PRNGKeyArray: give a whole number",
        ),
        (
            {"optimizer": functools.partial(loren_jax.loren, matrix_axes=lambda path, leaf: None)},
            "matrix_axes is a function, which the journal of a run without a learning rate",
        ),
        ({"steps": 1}, "steps is 1, and without a learning rate the first step only measures"),
        ({"judge": lambda observed, batch: observed}, "not with a judge"),
        ({"select": "-loss", "evaluate": None}, "there is no evaluate to give it"),
        ({"select": "loss", "evaluate": lambda params: 1.0}, "give '-loss'"),
        ({"patience": 2}, "patience needs a score that may select"),
    ],
)
def test_what_has_no_walk_is_refused_before_it_is_looked_for(options, said, tmp_path, monkeypatch):
    monkeypatch.setattr(_fit, "found_walk", lambda *_, **__: pytest.fail("it was looked for"))
    with pytest.raises(ValueError, match=said):
        run(tmp_path / "run", **options)


@pytest.mark.parametrize("optimizer", [lambda rate: rate, "loren", None])
def test_what_is_no_method_is_named(optimizer, tmp_path, without_checked_annotations):
    with pytest.raises(TypeError, match="pass a method of loren_jax, such as"):
        run(tmp_path / "run", optimizer=optimizer)


def test_a_loss_below_zero_is_named(tmp_path):
    with pytest.raises(ValueError, match="the loss is -1 where the run begins"):
        fit(lambda p, b: -1.0 + 0 * p, jnp.zeros(()), [()], directory=tmp_path / "run", steps=3)


def test_a_mesh_of_one_device_is_none(whole, tmp_path):
    mesh = jax.make_mesh((1,), ("population",), axis_types=(jax.sharding.AxisType.Auto,))
    evaluation = sharded(mesh, population="population")
    assert_same(run(tmp_path / "run", evaluation=evaluation).params, whole.params)
