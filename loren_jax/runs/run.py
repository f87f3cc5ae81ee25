"""One run, from its directory to its summary."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from loren_jax import arguments, journal, noise
from loren_jax.diagnostics import VitalSigns
from loren_jax.directions.masked import matching
from loren_jax.evaluation import Sharded
from loren_jax.parts import trained
from loren_jax.reports import files
from loren_jax.reports.metrics import MetricsWriter, events_until
from loren_jax.reports.summary import Summary, write_report
from loren_jax.runs import processes
from loren_jax.runs.checkpoints import Checkpoints, Restart
from loren_jax.runs.directory import claim, holds_run, locked
from loren_jax.runs.environment import environment, peak_device_bytes, peak_resident_bytes
from loren_jax.runs.interruption import Interruption
from loren_jax.runs.loop import Loop
from loren_jax.runs.origin import require_same_origin
from loren_jax.runs.programs import Programs, compiled
from loren_jax.runs.record import Counters, Progress, Record, Writers
from loren_jax.runs.selection import Selection
from loren_jax.transformation import form
from loren_jax.types import PyTree

_PLAIN = ("loren", "mezo")
"""Methods whose update is the learning rate times the estimate: their losses tell its effect."""


class Fitted(NamedTuple):
    """What a run leaves.

    Attributes:
        params: The parameters that are kept: those of the best evaluation with `select`, else of
            the last step.
        summary: Its numbers.
        directory: Where its files are.
    """

    params: PyTree
    summary: Summary
    directory: Path


@dataclass(kw_only=True)
class Run:
    """A run of any loss; `loren_jax.fit` makes one.

    Attributes:
        loss: `(params, batch, *frozen) -> scalar`.
        params: The parameters to begin with; they are not changed.
        batch: The batch of a step, from its number.
        optimizer: The optimiser, or a description that builds it.
        directory: Where its files are.
        steps: Steps to take.
        evaluate: `params -> scores by name`.
        test: The same of examples that select nothing; called once, on what is kept.
        finish: Called with what is kept before the summary is written; gives more facts for it.
        eval_every: Steps between evaluations; the first and the last step are always evaluated.
        evaluation_passes: Forward passes of an evaluation, for the counts.
        select: Name of the score whose best evaluation is kept, with a minus sign where the lowest
            is the best; None to keep the last parameters.
        patience: With `select`, evaluations without a better one after which to stop.
        trained: Patterns of the leaves to train, such as `head/*`; None for all. A description
            has its own.
        frozen: Further arguments of the loss, which no step changes.
        full_batch: All training data, for a method that needs it.
        passes: Forward passes of a step, from its number; by default those of the optimiser.
        inputs: Trees by name that a resumed run must find unchanged; by default the first batch.
        evaluation: The mesh, as `loren_jax.evaluation.sharded` makes it; None leaves all arrays
            where they are. An optimiser that is no description must have been made with it.
        factors: Fan-in vectors that the description has the digest of.
        facts: What the journal's header should say beside, as JSON values.
        config: What `config.json` should say beside, as JSON values.
        told: Facts for the summary, as JSON values.
        title: Heading of the curve.
        held_out: What the evaluated examples are called.
        shown: Names of the scores that are shown while it runs; None for all.
        checkpoint_every: Steps between checkpoints, from which a resumed run need not replay.
        fsync_every: Steps between journal writes that survive a crash of the machine.
        in_place: Whether `params` may be overwritten, so that no copy of them is made.
        max_nonfinite_steps: Give up after so many steps in a row without a finite loss.
        resume: Whether to go on with a run that the directory holds.
        overwrite: Whether to replace it.
    """

    loss: Callable[..., Any]
    params: PyTree
    batch: Callable[[int], PyTree]
    optimizer: optax.GradientTransformationExtraArgs | journal.Method
    directory: Path
    steps: int
    evaluate: Callable[[PyTree], Mapping[str, Any]] | None = None
    test: Callable[[PyTree], Mapping[str, Any]] | None = None
    finish: Callable[[PyTree], Mapping[str, Any]] = lambda params: {}
    eval_every: int = 50
    evaluation_passes: int = 0
    select: str | None = None
    patience: int | None = None
    trained: Sequence[str] | None = None
    frozen: tuple[Any, ...] = ()
    full_batch: PyTree | None = None
    passes: Callable[[int], int] | None = None
    inputs: Mapping[str, PyTree] | None = None
    evaluation: Sharded | None = None
    factors: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    held_out: str = ""
    shown: tuple[str, ...] | None = None
    checkpoint_every: int = 100
    fsync_every: int = 1
    in_place: bool = False
    max_nonfinite_steps: int = 10
    resume: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "eval_every", "checkpoint_every", "max_nonfinite_steps"):
            arguments.count(name, getattr(self, name))
        if self.select is not None and self.evaluate is None:
            raise ValueError("select names a score, but there is no evaluate to give it: pass one")
        heard = jax.config.values["jax_enable_preemption_service"]
        if jax.process_count() > 1 and not heard:
            raise ValueError(
                "several processes stop behind one step by JAX's preemption service: call "
                "jax.config.update('jax_enable_preemption_service', True) before "
                "jax.distributed.initialize"
            )
        if self.trained is not None and isinstance(self.optimizer, journal.Method):
            raise ValueError("trained is given, but a Method says itself what is: give it there")
        if self.patience is not None and self.select is None:
            raise ValueError("patience needs a score that may select: pass select too")

    def go(self) -> Fitted:
        """Begins, or goes on, and ends.

        Returns:
            What the run leaves.
        """
        with ExitStack() as opened:
            recorded = self._open(opened)
            mask, optimizer = self._optimizer()
            place = (lambda x: x) if self.evaluation is None else self.evaluation.place
            params = place(self.params)
            if not self.in_place:  # the steps overwrite what they are given
                params = jax.tree.map(jnp.copy, params)
            if self.evaluation is None:
                state = jax.jit(optimizer.init)(params)
            else:
                state = self.evaluation.start(optimizer, params)
            programs = compiled(
                self.loss, optimizer, params, state, self.batch(0), self.full_batch, self.frozen
            )
            header = self._header(programs, state)
            processes.told(lambda: require_same_origin(recorded, header, self._mesh))
            losses = processes.told_array(
                lambda: (
                    np.zeros((0, *header["losses"]), np.float32)
                    if recorded is None
                    else recorded.losses
                )
            )
            selection = None
            if self.select is not None:
                selection = Selection(self.select, mask, self.patience)
            saved = Restart(Checkpoints(self.directory / files.CHECKPOINTS), mask, selection)
            params, state, counters = saved.restored(params, state, len(losses))
            complete = processes.told(lambda: self._complete(len(losses)))
            writers = self._writers(opened, header, recorded, counters) if not complete else None
            record = Record(losses, writers)
            with Interruption() as interruption:
                loop = self._loop(
                    programs, optimizer, record, interruption, selection, saved, counters
                )
                if complete:  # its journal makes the parameters again
                    loop.steps = len(losses)
                    loop.evaluate = self.evaluate if selection else None
                params, state = loop.run(params, state)
                kept = selection.restore(params) if selection else params
                if complete:
                    return Fitted(kept, Summary.from_json(complete), self.directory)
                test = self._test(kept, interruption)
            return self._end(kept, loop, test, programs)

    @property
    def _mesh(self) -> str:
        """What a journal calls the devices; empty for one."""
        if self.evaluation is None or self.evaluation.mesh.size == 1:
            return ""
        return ",".join(f"{name}={size}" for name, size in self.evaluation.mesh.shape.items())

    def _open(self, opened: ExitStack) -> journal.Journal | None:
        """Holds the directory; the run that is there, on the first process."""
        found: list[journal.Journal] = []

        def make() -> bool:
            opened.enter_context(locked(self.directory))
            if self.resume and not self.overwrite and holds_run(self.directory):
                found.append(journal.read(self.directory / files.JOURNAL))
                return True
            claim(self.directory, overwrite=self.overwrite)
            return False

        processes.told(make)
        return found[0] if found else None

    def _optimizer(self) -> tuple[Callable[[str], bool], optax.GradientTransformationExtraArgs]:
        """Which leaves are trained, by path, and by what."""
        optimizer, everything = self.optimizer, lambda path: True
        if isinstance(optimizer, journal.Method):
            several = self.evaluation is not None and self.evaluation.mesh.size > 1
            built = optimizer.build(self.evaluation if several else None, self.factors)
            if optimizer.trained is None:
                return everything, built
            return frozenset(optimizer.trained).__contains__, built
        if self.trained is None:
            return everything, optimizer
        mask = matching(tuple(self.trained), self.params, "trained")
        return mask, trained(optimizer, mask)

    def _header(self, programs: Programs, state: PyTree) -> dict[str, Any]:
        inputs = {"first batch": self.batch(0)} if self.inputs is None else dict(self.inputs)
        method = self.optimizer if isinstance(self.optimizer, journal.Method) else None
        if method is None:  # which would say itself what it is
            keys = lambda leaf: noise.words(leaf) if processes.is_key(leaf) else leaf
            inputs["optimizer's first state"] = jax.tree.map(keys, state)
        digests = {n: journal.described(x, processes.whole)["digest"] for n, x in inputs.items()}
        own = {} if method is not None else {"optimizer": programs.absorb_digest}
        return journal.header(
            self.params,
            programs.losses_shape,
            method=method,
            run={
                **self.facts,
                "frozen": journal.described(self.frozen, processes.whole),
                "inputs": digests,
                "programs": own | {"loss": programs.loss_digest},
            },
            mesh=self._mesh,
            read=processes.whole,
        )

    def _complete(self, recorded: int) -> dict[str, Any] | None:
        """The summary of a run to which there is nothing to add."""
        path = self.directory / files.SUMMARY
        summary = files.read_json(path) if path.is_file() else {"interrupted": True}
        done = summary.get("stopped") or recorded >= self.steps
        same = summary.get("metric") == self.select
        return summary if done and same and not summary["interrupted"] else None

    def _writers(
        self,
        opened: ExitStack,
        header: dict[str, Any],
        recorded: journal.Journal | None,
        counters: Counters,
    ) -> Writers | None:
        if not processes.first():
            return None
        path = self.directory / files.JOURNAL
        log = (
            self._begun(header)
            if recorded is None
            else journal.continued(path, fsync_every=self.fsync_every)
        )
        opened.enter_context(log)
        kept = events_until(self.directory, counters.step, self.eval_every)
        metrics = opened.enter_context(MetricsWriter(self.directory / files.METRICS, kept))
        if recorded is None:
            metrics.write("config", 0, 0, **files.read_json(self.directory / files.CONFIG))
        else:
            print(
                f"resuming behind step {recorded.steps}, from the checkpoint of step "
                f"{counters.step}",
                file=sys.stderr,
            )
        progress = Progress(self.steps, self.held_out, self.shown)
        opened.callback(progress.close)
        return Writers(log, metrics, progress)

    def _begun(self, header: dict[str, Any]) -> journal.JournalWriter:
        """Writes what a run begins with; its journal."""
        mesh = {} if self.evaluation is None else {"mesh": dict(self.evaluation.mesh.shape)}
        programs = {f"{n} program": d for n, d in header["run"]["programs"].items()}
        facts = {
            # Without words, runs are told apart by what they compute.
            "config": {"steps": self.steps, **(self.config or programs)},
            **environment(),
            **mesh,
            "processes": jax.process_count(),
        }
        (self.directory / files.METRICS).touch()  # from now on it counts as a run of ours
        files.write_json(self.directory / files.CONFIG, facts)
        path = self.directory / files.JOURNAL
        if self.factors is not None:
            journal.factors.save(path, self.factors)
        return journal.create(path, header, fsync_every=self.fsync_every)

    def _test(self, kept: PyTree, interruption: Interruption) -> dict[str, Any] | None:
        """The one look at the examples that select nothing."""
        if self.test is None:
            return None
        try:
            with interruption.evaluation() as wanted:
                return dict(self.test(kept)) if wanted else None
        except KeyboardInterrupt:
            return None

    def _end(
        self, kept: PyTree, loop: Loop, test: dict[str, Any] | None, programs: Programs
    ) -> Fitted:
        """Writes what the run leaves; the summary comes last and says that all is there."""
        counters = loop.counters
        best = loop.selection.best if loop.selection else None
        seconds = counters.training_seconds
        summary = Summary(
            steps=counters.step,
            planned_steps=self.steps,
            interrupted=loop.interrupted,
            stopped=counters.step < self.steps and not loop.interrupted,
            metric=self.select,
            selected_step=best.step if best else None,
            before=counters.before,
            after=best.scores if best else counters.after,
            test=test,
            forward_passes=counters.forward_passes,
            evaluation_forward_passes=counters.evaluation_forward_passes,
            nonfinite=counters.nonfinite,
            training_seconds=round(seconds, 3),
            evaluation_seconds=round(counters.evaluation_seconds, 3),
            compile_seconds=round(programs.seconds, 3),
            forward_passes_per_second=counters.forward_passes / seconds if seconds else None,
            temporary_bytes=programs.temporary_bytes,
            peak_resident_bytes=peak_resident_bytes(),
            peak_device_bytes=peak_device_bytes(),
            facts={**self.told, **self.finish(kept)},
        )
        loop.record.finished(counters, summary.as_json())
        if processes.first():
            write_report(self.directory, summary, self.title, self.held_out)
        return Fitted(kept, summary, self.directory)

    def _loop(
        self,
        programs: Programs,
        optimizer: optax.GradientTransformationExtraArgs,
        record: Record,
        interruption: Interruption,
        selection: Selection | None,
        saved: Restart,
        counters: Counters,
    ) -> Loop:
        # A plain Optax chain around an optimiser does not say what a step costs.
        passes = form(optimizer, "passes") or math.prod(programs.losses_shape)
        scale, rate = 1.0, None
        if isinstance(self.optimizer, journal.Method):
            scale = self.optimizer.knobs.get("perturbation_scale", scale)
            if self.optimizer.name in _PLAIN:
                rate = self.optimizer.knobs["learning_rate"]
        return Loop(
            probe=programs.probe,
            absorb=programs.absorb,
            batch=self.batch,
            passes=self.passes or (lambda step: passes),
            evaluate=self.evaluate,
            save=lambda params, state: saved.save(params, state, counters),
            steps=self.steps,
            eval_every=self.eval_every,
            checkpoint_every=self.checkpoint_every,
            max_nonfinite_steps=self.max_nonfinite_steps,
            record=record,
            interruption=interruption,
            selection=selection,
            signs=VitalSigns(scale, learning_rate=rate, steps=self.steps),
            counters=counters,
            evaluation_passes=self.evaluation_passes,
        )
