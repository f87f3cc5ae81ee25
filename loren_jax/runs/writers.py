"""Where a run writes to, opened when it begins or goes on."""

from contextlib import ExitStack
from typing import Any

import jax

from loren_jax import journal
from loren_jax.reports import files
from loren_jax.reports.metrics import MetricsWriter, events_until
from loren_jax.runs import processes
from loren_jax.runs.callbacks import Listeners
from loren_jax.runs.environment import environment
from loren_jax.runs.pace import Pace
from loren_jax.runs.plan import Plan
from loren_jax.runs.record import Counters, Progress, Writers


def writers_of(
    run: Plan,
    opened: ExitStack,
    header: dict[str, Any],
    recorded: journal.Journal | None,
    counters: Counters,
) -> Writers | None:
    """Opens what a run writes to, on the first process, until `opened` is left."""
    if not processes.first():
        return None
    path = run.directory / files.JOURNAL
    log = (
        _begin(run, header)
        if recorded is None
        else journal.reopen(path, fsync_every=run.fsync_every)
    )
    opened.enter_context(log)
    listeners = Listeners(run.callbacks, None if recorded is None else run.directory)
    opened.callback(listeners.close)
    kept = events_until(run.directory, counters.step, run.eval_every)
    metrics = opened.enter_context(MetricsWriter(run.directory / files.METRICS, kept))
    if recorded is not None:
        _plan_anew(run)
    else:
        config = files.read_json(run.directory / files.CONFIG)
        listeners.tell(metrics.write("config", 0, 0, **config))
    pace = Pace(run.steps, run.eval_every, counters)
    progress = Progress(
        run.steps, run.held_out, run.shown, label=run.label, pace=pace, answers=run.answers
    )
    opened.callback(progress.close)
    if recorded is not None:
        progress.show_line(
            f"resuming behind step {recorded.steps}, from the checkpoint of step {counters.step}"
        )
    return Writers(log, metrics, progress, listeners)


def _plan_anew(run: Plan) -> None:
    """Writes down that another number of steps is to be taken than was planned, before any is.

    Else a run that was complete, and stops on its further way, would be told to be complete.
    """
    path, summary = run.directory / files.CONFIG, run.directory / files.SUMMARY
    facts = files.read_json(path)
    if facts["config"].get("steps", run.steps) == run.steps:
        return
    if summary.is_file():
        files.write_json(summary, {**files.read_json(summary), "interrupted": True})
    files.write_json(path, {**facts, "config": {**facts["config"], "steps": run.steps}})


def _begin(run: Plan, header: dict[str, Any]) -> journal.JournalWriter:
    """Writes what a run begins with; its journal."""
    mesh = {} if run.evaluation is None else {"mesh": dict(run.evaluation.mesh.shape)}
    programs = {f"{n} program": d for n, d in header["run"]["programs"].items()}
    facts = {
        # Without words, runs are told apart by what they compute.
        "config": {"steps": run.steps, **(run.config or programs)},
        **environment(),
        **mesh,
        "processes": jax.process_count(),
    }
    (run.directory / files.METRICS).touch()  # from now on it counts as a run of ours
    files.write_json(run.directory / files.CONFIG, facts)
    path = run.directory / files.JOURNAL
    if run.factors is not None:
        journal.factors.save(path, run.factors)
    return journal.create(path, header, fsync_every=run.fsync_every)
