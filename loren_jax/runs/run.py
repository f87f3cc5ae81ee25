"""One run, from its directory to its summary."""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from loren_jax import journal
from loren_jax.diagnostics import VitalSigns
from loren_jax.directions.masked import matching
from loren_jax.parts import trained
from loren_jax.reports import files
from loren_jax.reports.metrics import read_metrics
from loren_jax.reports.summary import Summary, write_report
from loren_jax.runs import processes
from loren_jax.runs.axes import with_axes_of_use
from loren_jax.runs.checkpoints import Checkpoints, Restart
from loren_jax.runs.directory import claim, hold, holds_run
from loren_jax.runs.environment import peak_device_bytes, peak_resident_bytes
from loren_jax.runs.forecast import Forecast, nbytes, step_seconds
from loren_jax.runs.interruption import Interruption
from loren_jax.runs.loop import Loop
from loren_jax.runs.origin import origin, require_same_origin
from loren_jax.runs.plan import Plan
from loren_jax.runs.programs import Programs, compile_step
from loren_jax.runs.record import Counters, Record, status
from loren_jax.runs.selection import Selection
from loren_jax.runs.writers import writers_of
from loren_jax.transformation import form
from loren_jax.types import PyTree

_PLAIN = ("loren", "input_subspace", "mezo")
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
class Run(Plan):
    """A run of any loss; `loren_jax.fit` makes one. Its attributes are those of its `Plan`."""

    def go(self) -> Fitted:
        """Begins, or goes on, and ends.

        Returns:
          What the run leaves.
        """
        with ExitStack() as opened:
            recorded = self._open(opened)
            return self._with_axes(recorded)._go(opened, recorded)

    def _with_axes(self, recorded: journal.Journal | None) -> "Run":
        """With what the loss tells of its leaves' axes, or the journal of a run that goes on."""
        optimizer, facts = with_axes_of_use(self, recorded)
        return replace(self, optimizer=optimizer, facts={**self.facts, **facts})

    def _go(self, opened: ExitStack, recorded: journal.Journal | None) -> Fitted:
        mask, optimizer = self._optimizer()
        params, state, programs = self._compile(optimizer)
        header = origin(self, programs, state)
        processes.broadcast(lambda: require_same_origin(recorded, header, self.mesh))
        losses = processes.broadcast_array(
            lambda: (
                np.zeros((0, *header["losses"]), np.float32)
                if recorded is None
                else recorded.losses
            )
        )
        if len(losses) > self.steps:
            raise ValueError(
                f"steps is {self.steps}, but the run in {self.directory} has taken {len(losses)}: "
                "give as many or more, or another directory (its journal gives the parameters of "
                "any step: loren_jax.journal.replay, or loren-jax export --step)"
            )
        selection = None
        if self.select is not None:
            selection = Selection(self.select, mask, self.patience)
        saved = Restart(Checkpoints(self.directory / files.CHECKPOINTS), mask, selection)
        params, state, counters = saved.restore(params, state, len(losses))
        complete = processes.broadcast(lambda: self._complete(len(losses)))
        writers = None if complete else writers_of(self, opened, header, recorded, counters)
        record = Record(losses, writers)
        with Interruption() as interruption:
            loop = self._loop(programs, optimizer, record, interruption, selection, saved, counters)
            if complete:  # its journal makes the parameters again
                loop.steps = len(losses)
                loop.evaluate = self.evaluate if selection else None
            params, state = loop.run(params, state)
            kept = selection.restore(params) if selection else params
            if complete:
                return Fitted(kept, Summary.from_json(complete), self.directory)
            test = None if loop.paused else self._test(kept, interruption)
        return self._end(kept, loop, test, programs)

    def forecast(self) -> Forecast:
        """What the run will take, of one evaluation and one step that leave nothing behind."""
        self = self._with_axes(None)
        _, optimizer = self._optimizer()
        params, state, programs = self._compile(optimizer)
        start = time.perf_counter()
        if self.evaluate is not None:
            self.evaluate(params)
        seconds = None if self.evaluate is None else time.perf_counter() - start
        return self._forecast(programs, optimizer, params, state, seconds)

    def _compile(
        self, optimizer: optax.GradientTransformationExtraArgs
    ) -> tuple[PyTree, PyTree, Programs]:
        """Parameters and state of the first step, on their devices, and its programs."""
        place = (lambda x: x) if self.evaluation is None else self.evaluation.place
        params = place(self.params)
        if not self.in_place:  # the steps overwrite what they are given
            params = jax.tree.map(jnp.copy, params)
        if self.evaluation is None:
            state = jax.jit(optimizer.init)(params)
        else:
            state = self.evaluation.start(optimizer, params)
        with status("compiling the step"):
            programs = compile_step(
                self.loss,
                optimizer,
                params,
                state,
                self.batch(0),
                self.full_batch,
                self.frozen,
                self.judge,
            )
        return params, state, programs

    def _forecast(
        self,
        programs: Programs,
        optimizer: optax.GradientTransformationExtraArgs,
        params: PyTree,
        state: PyTree,
        evaluation_seconds: float | None,
    ) -> Forecast:
        passes = self._passes(programs, optimizer)
        return Forecast(
            steps=self.steps,
            forward_passes=sum(map(passes, range(self.steps))),
            step_seconds=step_seconds(programs, params, state, self.batch(0)),
            evaluations=0 if self.evaluate is None else -(-self.steps // self.eval_every),
            evaluation_seconds=evaluation_seconds,
            compile_seconds=programs.seconds,
            parameter_bytes=nbytes((params, self.frozen)),
            temporary_bytes=programs.temporary_bytes,
        )

    def _passes(
        self, programs: Programs, optimizer: optax.GradientTransformationExtraArgs
    ) -> Callable[[int], int]:
        # A plain Optax chain around an optimiser does not say what a step costs.
        passes = form(optimizer, "passes") or math.prod(programs.losses_shape)
        return self.passes or (lambda step: passes)

    def _open(self, opened: ExitStack) -> journal.Journal | None:
        """Holds the directory; the run that is there, on the first process."""
        found: list[journal.Journal] = []

        def make() -> bool:
            opened.enter_context(hold(self.directory))
            if self.resume and not self.overwrite and holds_run(self.directory):
                found.append(journal.read(self.directory / files.JOURNAL))
                return True
            claim(self.directory, overwrite=self.overwrite)
            return False

        processes.broadcast(make)
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

    def _complete(self, recorded: int) -> dict[str, Any] | None:
        """The summary of a run to which there is nothing to add."""
        path = self.directory / files.SUMMARY
        summary = files.read_json(path) if path.is_file() else {"interrupted": True}
        done = summary.get("stopped") or recorded >= self.steps
        same = summary.get("metric") == self.select
        return summary if done and same and not summary["interrupted"] else None

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
            training_seconds=round(counters.training_seconds, 3),
            evaluation_seconds=round(counters.evaluation_seconds, 3),
            compile_seconds=round(programs.seconds, 3),
            forward_passes_per_second=counters.forward_passes_per_second,
            temporary_bytes=programs.temporary_bytes,
            peak_resident_bytes=peak_resident_bytes(),
            peak_device_bytes=peak_device_bytes(),
            facts={**self.told, **({"paused": True} if loop.paused else self.finish(kept))},
        )
        loop.record.write_summary(counters, summary.as_json())
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
        def begin(params: PyTree, state: PyTree) -> None:
            seconds = counters.evaluation_seconds if self.evaluate else None
            record.show_forecast(self._forecast(programs, optimizer, params, state, seconds))

        scheme: Any = form(optimizer, "scheme")
        points = len(scheme.points) if scheme else programs.losses_shape[1]
        return Loop(
            probe=programs.probe,
            absorb=programs.absorb,
            batch=self.batch,
            passes=self._passes(programs, optimizer),
            points=points,
            evaluate=self.evaluate,
            save=lambda params, state: saved.save(params, state, counters),
            begin=begin,
            steps=self.steps,
            eval_every=self.eval_every,
            checkpoint_every=self.checkpoint_every,
            max_nonfinite_steps=self.max_nonfinite_steps,
            record=record,
            interruption=interruption,
            selection=selection,
            signs=self._signs(record, counters, points),
            counters=counters,
            evaluation_passes=self.evaluation_passes,
            pause_at=self.pause_at,
        )

    def _signs(self, record: Record, counters: Counters, points: int) -> VitalSigns:
        """What watches the losses; it has seen those of the steps that are not taken again."""
        scale, rate, automatic = None, None, False
        if isinstance(self.optimizer, journal.Method):
            scale = self.optimizer.knobs.get("perturbation_scale")
            automatic = "automatic" in (self.optimizer.schedule or {})
            if self.optimizer.name in _PLAIN and self.optimizer.schedule is None:
                rate = self.optimizer.knobs["learning_rate"]
        signs = VitalSigns(scale, learning_rate=rate, steps=self.steps, automatic=automatic)
        earlier = map(record.losses, range(counters.step))
        seen = (losses[:, :points] for losses in earlier if losses is not None)
        signs.recall(seen, self._evaluated(counters.step))
        return signs

    def _evaluated(self, step: int) -> dict[int, float]:
        """The held-out losses up to a step, which the first process has written down."""
        path = self.directory / files.METRICS
        if not step or not processes.first() or not path.is_file():
            return {}
        found = [e for e in read_metrics(path) if e["event"] == "evaluation" and e["step"] <= step]
        return {e["step"]: e["loss"] for e in found if e.get("loss") is not None}
