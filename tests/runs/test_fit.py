"""`fit`: any loss, durably."""

import dataclasses
import functools
import json
import multiprocessing
import os
import shutil
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax import journal
from loren_jax.reports import read_metrics
from loren_jax.reports.files import METRICS
from loren_jax.runs import InUseError, fit, processes
from loren_jax.runs.directory import LOCK, claim, hold, require_free

BATCHES = np.random.default_rng(0).standard_normal((7, 8, 3)).astype(np.float32)
PARAMS = {"body": {"w": np.ones((3, 2), np.float32)}, "head": np.zeros(2, np.float32)}


def loss(params, batch):
    return jnp.mean((jnp.tanh(batch @ params["body"]["w"]) @ params["head"] - batch[:, 0]) ** 2)


def evaluate(params):
    return {"loss": loss(params, BATCHES[0]), "right": 1.0 - loss(params, BATCHES[1])}


def run(directory, *, steps=12, rate=0.05, seed=0, what=loss, batches=BATCHES, **options):
    options = {"evaluate": evaluate, "eval_every": 4, "checkpoint_every": 5, **options}
    optimizer = options.pop("optimizer", None) or loren_jax.loren(rate, key=seed)
    params = options.pop("params", PARAMS)
    return fit(
        what, params, batches, optimizer=optimizer, directory=directory, steps=steps, **options
    )


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


class StoppedError(Exception):
    """What ends a run in the middle, as a crash of its program would."""


def stopped_at(step, batches=BATCHES):
    def batch(number):
        if number == step:
            raise StoppedError
        return batches[number % len(batches)]

    return batch


def test_it_learns_and_leaves_what_a_run_leaves(tmp_path):
    before = jax.tree.map(np.copy, PARAMS)
    fitted = run(tmp_path / "run", steps=60)
    assert fitted.summary.after["loss"] < 0.5 * fitted.summary.before["loss"]
    assert_same(PARAMS, before)  # not changed in place
    names = {path.name for path in (tmp_path / "run").iterdir()}
    written = {"config.json", "metrics.jsonl", "run.journal", "curve.png", "summary.json"}
    assert names == {*written, "checkpoints", LOCK}
    events = [line["event"] for line in read_metrics(tmp_path / "run")]
    assert (events.count("step"), events.count("evaluation")) == (60, 16)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["right_after"] == fitted.summary.after["right"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "whole"
    return run(directory, select="right")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Makes copies of a run that was stopped."""
    directory = tmp_path_factory.mktemp("runs") / "stopped"
    with pytest.raises(StoppedError):
        run(directory, batches=stopped_at(6))
    return functools.partial(shutil.copytree, directory)


def test_without_a_copy_of_the_parameters_it_is_the_same_run(tmp_path, whole):
    given = jax.tree.map(jnp.asarray, PARAMS)
    assert_same(
        run(tmp_path / "run", select="right", params=given, in_place=True).params, whole.params
    )
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(given))


@pytest.mark.parametrize("step", [1, 5, 11])
def test_stopped_at_any_step_it_ends_in_the_same_bits(tmp_path, whole, step):
    with pytest.raises(StoppedError):
        run(tmp_path / "run", select="right", batches=stopped_at(step))
    again = run(tmp_path / "run", select="right")
    assert_same(again.params, whole.params)
    own = lambda directory: [
        {n: v for n, v in line.items() if n != "seconds"}
        for line in read_metrics(directory)
        if line["event"] in ("step", "evaluation")
    ]
    assert own(again.directory) == own(whole.directory)
    assert again.summary.before == whole.summary.before


def test_leaves_without_numbers_are_in_no_checkpoint_and_come_back(tmp_path):
    params = PARAMS | {"empty": np.zeros((0, 3), np.float32)}
    with pytest.raises(StoppedError):
        run(tmp_path / "run", params=params, batches=stopped_at(8))
    again, plain = run(tmp_path / "run", params=params), run(tmp_path / "plain", params=params)
    assert again.params["empty"].shape == (0, 3)
    assert_same(again.params, plain.params)


def test_a_complete_run_is_returned_as_it_is_and_a_longer_one_goes_on(tmp_path):
    first = run(tmp_path / "run", select="-loss")
    stamp = (tmp_path / "run" / "metrics.jsonl").stat().st_mtime_ns
    again = run(tmp_path / "run", select="-loss", batches=lambda step: BATCHES[step % 7])
    assert_same(again.params, first.params)
    assert again.summary == first.summary
    assert (tmp_path / "run" / "metrics.jsonl").stat().st_mtime_ns == stamp
    longer = run(tmp_path / "run", steps=20)
    assert_same(longer.params, run(tmp_path / "other", steps=20).params)


@pytest.mark.parametrize("taken", [12, 5])
def test_fewer_steps_than_were_taken_are_refused(tmp_path, stopped, taken):
    """Their parameters would be those of other steps."""
    if taken == 12:
        run(tmp_path / "run")
    else:
        stopped(tmp_path / "run")
    with pytest.raises(ValueError, match=rf"steps is 3, but the run in .* has taken {taken}: give"):
        run(tmp_path / "run", steps=3)


DESCRIBED = journal.Method("loren", {"learning_rate": 0.05}, anchored_weight_decay=0.01)


def test_each_part_of_a_description_is_looked_at(tmp_path):
    run(tmp_path / "run", steps=4, optimizer=DESCRIBED)
    other = dataclasses.replace(DESCRIBED, anchored_weight_decay=0.5)
    with pytest.raises(ValueError, match=r"anchored_weight_decay was 0.01 and is 0.5"):
        run(tmp_path / "run", steps=8, optimizer=other)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rate": 0.06}, "the optimizer of this run is not what it was"),
        ({"seed": 1}, "the optimizer's first state of this run is not what it was"),
        ({"what": lambda p, b: 2 * loss(p, b)}, "the loss of this run is not what it was"),
        ({"batches": BATCHES + 1}, "the first batch of this run is not what it was"),
        ({"params": PARAMS | {"head": np.ones(2, np.float32)}}, "the base model"),
        ({"params": PARAMS | {"neck": np.ones(2, np.float32)}}, "the base model: leaf 'neck'"),
        ({"trained": ["head"]}, "this run is not what it was"),
        ({"optimizer": loren_jax.mezo(0.05)}, "losses of shape"),
        (
            {"optimizer": journal.Method("loren", {"learning_rate": 0.05})},
            "begun with an optimiser without a description",
        ),
    ],
)
def test_what_is_no_longer_so_stops_it_by_name(tmp_path, stopped, changed, message):
    stopped(tmp_path / "run")
    kept = (tmp_path / "run" / "run.journal").read_bytes()
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "run", **changed)
    assert (tmp_path / "run" / "run.journal").read_bytes() == kept


def test_a_described_optimizer_makes_a_journal_that_replays(tmp_path):
    method = journal.Method("mezo", {"learning_rate": 0.05}, trained=["head"])
    fitted = run(tmp_path / "run", optimizer=method)
    again = journal.replay(PARAMS, tmp_path / "run" / "run.journal")
    assert_same(again.params, fitted.params)
    np.testing.assert_array_equal(fitted.params["body"]["w"], PARAMS["body"]["w"])


def test_patterns_choose_what_is_trained_and_checkpoints_hold_that_alone(tmp_path):
    given = jax.tree.map(jnp.asarray, PARAMS)
    fitted = run(tmp_path / "run", params=given, trained=["head"])
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(given))
    np.testing.assert_array_equal(fitted.params["body"]["w"], PARAMS["body"]["w"])
    assert np.abs(np.asarray(fitted.params["head"])).max() > 0
    with pytest.raises(ValueError, match="'neck' matches no parameter"):
        run(tmp_path / "other", trained=["neck"])


def test_a_directory_that_another_process_writes_to_is_never_touched(tmp_path, stopped):
    stopped(tmp_path / "run")
    files = {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    with hold(tmp_path / "run"):
        for options in ({}, {"overwrite": True}, {"steps": 99}):
            with pytest.raises(InUseError, match="another process writes to"):
                run(tmp_path / "run", **options)
    assert {path: path.read_bytes() for path in files} == files


def race(directory, results, number):
    os.environ["JAX_PLATFORMS"] = "cpu"
    try:
        with hold(directory):
            claim(directory, overwrite=True)
            (directory / METRICS).write_text(str(number))
            results.put(number)
            threading.Event().wait(1.0)
    except OSError as error:
        results.put(str(error))


@pytest.mark.slow
def test_of_a_race_one_wins_and_the_others_leave_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    results, directory = context.Queue(), tmp_path / "deep" / "run"
    racers = [context.Process(target=race, args=(directory, results, n)) for n in range(3)]
    for racer in racers:
        racer.start()
    found = [results.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join()
    winners = [number for number in found if isinstance(number, int)]
    assert winners  # a late one may find the directory free again, which it then empties
    losers = [text for text in found if isinstance(text, str)]
    assert all("another process writes to" in text for text in losers)
    assert {path.name for path in directory.iterdir()} == {LOCK, METRICS}
    assert int((directory / METRICS).read_text()) in winners


@pytest.mark.parametrize("broken", ["loss", "evaluate"])
def test_an_attempt_that_failed_before_its_first_step_blocks_nothing(tmp_path, broken):
    def fails(params, batch=None):
        raise ZeroDivisionError

    wrong = {"what": fails} if broken == "loss" else {"evaluate": fails}
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            run(tmp_path / "run", **wrong)
    require_free(tmp_path / "run", overwrite=False)
    run(tmp_path / "run", rate=0.1)


def test_nor_does_one_that_was_stopped_while_it_began(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(journal, "create", lambda *given, **more: (_ for _ in ()).throw(StoppedError))
        with pytest.raises(StoppedError):
            run(tmp_path / "run")
    assert run(tmp_path / "run").summary.steps == 12


def test_another_choice_of_the_best_looks_at_all_evaluations_again(tmp_path):
    """The loss falls: by the one choice the first parameters are kept, by the other the last."""
    run(tmp_path / "run", select="-loss")
    again, other = run(tmp_path / "run", select="-right"), run(tmp_path / "other", select="-right")
    assert_same(again.params, other.params)
    assert again.summary.selected_step == other.summary.selected_step
    assert again.summary.metric == "-right"


def test_what_stops_a_resume_is_told_to_all_processes(tmp_path, stopped, monkeypatch):
    told, heard = processes.broadcast, []

    def listening(make):
        try:
            return told(make)
        except ValueError as error:
            heard.append(error)
            raise

    monkeypatch.setattr(processes, "broadcast", listening)
    stopped(tmp_path / "run")
    with pytest.raises(ValueError, match="the optimizer of this run"):
        run(tmp_path / "run", rate=0.06)
    assert len(heard) == 1


def test_losses_that_are_never_finite_end_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match=r"no loss was finite in the last 3 steps"):
        run(tmp_path / "run", what=lambda p, b: loss(p, b) * jnp.nan, max_nonfinite_steps=3)
    assert not (tmp_path / "run" / "summary.json").exists()
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_a_plain_chain_around_an_optimiser_runs_too(tmp_path):
    chain = optax.chain(loren_jax.loren(0.05, key=0).estimate, optax.scale(-0.05))
    fitted = run(tmp_path / "run", optimizer=chain)
    assert fitted.summary.forward_passes == 12 * 6
    assert fitted.summary.after["loss"] < fitted.summary.before["loss"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"eval_evry": 3}, TypeError, "no argument 'eval_evry': did you mean eval_every"),
        (
            {"zebra": 3},
            TypeError,
            "no argument 'zebra': did you mean answers or batch or callbacks or checkpoint",
        ),
        ({"optimizer": optax.adam(0.1)}, TypeError, "would need a gradient"),
        ({"optimizer": "loren"}, TypeError, "optimizer is a str"),
        ({"select": "-loss", "evaluate": None}, ValueError, "but there is no evaluate"),
        ({"select": "loss"}, ValueError, "of which the lowest is the best: give '-loss'"),
        ({"trained": "head"}, TypeError, r"trained is a string: give a list of patterns, \['head'"),
        ({"eval_every": 0}, ValueError, "eval_every must be at least 1"),
        ({"patience": 2}, ValueError, "pass select too"),
        ({"select": "wrong"}, ValueError, "select is 'wrong', but evaluate gives loss, right"),
    ],
)
def test_what_fit_does_not_take_is_told(
    tmp_path, options, error, message, without_checked_annotations
):
    with pytest.raises(error, match=message):
        run(tmp_path / "run", **options)


def test_patience_stops_without_a_better_score(tmp_path):
    patient = {"steps": 40, "select": "right", "patience": 2, "evaluate": lambda p: {"right": 0.0}}
    fitted = run(tmp_path / "run", **patient)
    assert (fitted.summary.stopped, fitted.summary.steps) == (True, 8)
    assert run(tmp_path / "run", **patient).summary == fitted.summary


def test_a_mesh(tmp_path):
    """Of one device, which is one too; of eight, see `mesh_checks`."""
    mesh = jax.make_mesh((1,), ("population",), axis_types=(jax.sharding.AxisType.Auto,))
    evaluation = loren_jax.evaluation.sharded(mesh, population="population")
    optimizer = loren_jax.loren(0.05, evaluation=evaluation, key=0)
    place = functools.partial(jax.tree.map, jnp.asarray)
    found = run(
        tmp_path / "mesh",
        optimizer=optimizer,
        evaluation=evaluation,
        batches=lambda step: evaluation.place_batch(BATCHES[step % 7]),
    )
    plain = run(tmp_path / "plain")
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-6)
    jax.tree.map(close, place(found.params), place(plain.params))


@pytest.mark.slow
def test_all_kinds_of_batches_make_the_same_run_also_where_it_goes_on(tmp_path, whole):
    """Of an iterator those that were seen are skipped."""
    kinds = {
        "function": lambda: lambda step: BATCHES[step % 7],
        "list": lambda: list(BATCHES),
        "iterator": lambda: (BATCHES[step % 7] for step in range(12)),
    }
    for name, make in kinds.items():
        run(tmp_path / name, batches=make(), steps=3)
        found = run(tmp_path / name, batches=make(), select="right")
        jax.tree.map(
            functools.partial(np.testing.assert_array_equal, err_msg=name),
            found.params,
            whole.params,
        )


def test_scores_are_numbers_by_name_and_the_best_are_kept(tmp_path):
    """The error rises and falls again: the lowest is kept, which is not the last."""
    seen = []

    def errors(params):
        seen.append(jax.tree.map(np.array, params))
        return {"error": jnp.asarray([3.0, 1.0, 2.0][len(seen) - 1])}

    found = run(tmp_path / "run", steps=4, evaluate=errors, eval_every=2, select="-error")
    assert (found.summary.selected_step, found.summary.after) == (2, {"error": 1.0})
    assert_same(found.params, seen[1])
    plain = run(tmp_path / "plain", steps=1, evaluate=lambda params: jnp.ones(()))
    assert plain.summary.after == {"score": 1.0}
    assert (tmp_path / "plain" / "curve.png").exists()


@pytest.mark.parametrize("every", [1, 3])
def test_the_training_loss_of_mezo_svrg_is_that_at_the_parameters(every, tmp_path):
    """Not of the snapshot, nor of the zeros that stand for it in a step on all data."""
    level = lambda params, batch: 1.0 + 0 * jnp.sum(params)
    optimizer = loren_jax.mezo_svrg(1e-9, every=every)
    given = {"optimizer": optimizer, "what": level, "params": np.ones(3, np.float32)}
    run(tmp_path / "run", full_batch=BATCHES[0], evaluate=None, steps=6, **given)
    events = read_metrics(tmp_path / "run" / METRICS)
    assert {event["loss"] for event in events if event["event"] == "step"} == {1.0}
