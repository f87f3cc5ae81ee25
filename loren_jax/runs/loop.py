"""The loop of a run: evaluate, checkpoint, dispatch a step, settle the step before."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from loren_jax.diagnostics import VitalSigns
from loren_jax.runs.interruption import Interruption
from loren_jax.runs.record import Counters, Record
from loren_jax.runs.selection import Selection
from loren_jax.types import PyTree


@dataclass(kw_only=True)
class Loop:
    """The steps of one run; `interrupted` says afterwards whether a signal ended it.

    `probe` is `(params, state, batch) -> losses` and `absorb` `(params, state, losses) -> (params,
    state)`, which overwrites the former two; both are compiled. `batch` and `passes` give a step's
    batch and forward passes from its number; `begin` is called before the first step that no record
    has, with the parameters and the state. There are no evaluations without `evaluate`; a
    `selection` judges each and may end the run. `save` is called where a checkpoint is due, and
    where the run is to pause, `pause_at`, which `paused` says afterwards. `record` writes all down
    and has earlier losses, and `counters` go on from a checkpoint. The first `points` losses of a
    direction are those at the parameters; mezo_svrg has more, at its snapshot, or zeros.
    """

    probe: Callable[..., jax.Array | np.ndarray]
    absorb: Callable[..., tuple[PyTree, PyTree]]
    batch: Callable[[int], PyTree]
    passes: Callable[[int], int]
    evaluate: Callable[[PyTree], Mapping[str, Any]] | None
    save: Callable[[PyTree, PyTree], None]
    begin: Callable[[PyTree, PyTree], None]
    points: int
    steps: int
    eval_every: int
    checkpoint_every: int
    max_nonfinite_steps: int
    record: Record
    interruption: Interruption
    selection: Selection | None
    signs: VitalSigns
    counters: Counters
    evaluation_passes: int
    pause_at: int | None = None
    interrupted: bool = False
    paused: bool = False

    def run(self, params: PyTree, state: PyTree) -> tuple[PyTree, PyTree]:
        """Takes the steps, which overwrite what is given; returns what is behind the last.

        A FloatingPointError ends them where too many in a row had no finite loss.
        """
        start = step = self.counters.step
        waiting, self._clock = None, time.perf_counter()
        while True:
            pause = self.pause_at is not None and self.pause_at <= step < self.steps
            stop = self.interruption.requested(step) or pause
            last, fresh = stop or step >= self.steps, step > start
            regular = step % self.eval_every == 0
            evaluating = (last or regular) and (fresh or step == 0)
            saving = fresh and (pause or (step % self.checkpoint_every == 0 and not stop))
            if waiting and (last or evaluating or saving):
                waiting = self._settle(*waiting)
            early = pause and not regular  # a run that does not pause has no evaluation here
            if saving and early:
                self.save(params, state)
            if evaluating:
                self._evaluate(params)
            if saving and not early:
                self.save(params, state)
            if last or self._exhausted:
                break
            if waiting and step == self.record.steps:
                jax.block_until_ready(params)  # or the first step of our own would wait for these
                waiting = self._settle(*waiting)
            losses = self.record.losses(step)
            if losses is None:
                if step == 0:
                    self.begin(params, state)
                    self._clock = time.perf_counter()
                losses = self.probe(params, state, self.batch(step))
            params, state = self.absorb(params, state, losses)
            step += 1
            if waiting:  # fetched while this step runs, so that the device never waits
                self._settle(*waiting)
            waiting = step, losses
        self.interrupted = stop and step < self.steps and not self._exhausted
        self.paused = self.interrupted and pause and not self.interruption.heard
        return params, state

    @property
    def _exhausted(self) -> bool:
        return self.selection is not None and self.selection.exhausted

    def _settle(self, step: int, losses: Float[Any, "K S"]) -> None:
        """Waits for the losses of a step and writes them down."""
        losses = np.asarray(losses)
        own = losses[:, : self.points]
        finite = np.isfinite(own)
        loss = float(own[finite].mean()) if finite.any() else float("nan")
        now, counters = time.perf_counter(), self.counters
        counters.step = step
        counters.nonfinite += int(np.sum(~np.isfinite(losses)))
        passes, seconds = self.passes(step - 1), now - self._clock
        counters.forward_passes += passes
        counters.training_seconds += seconds
        if step <= self.record.steps:
            counters.replayed_forward_passes += passes
            counters.replayed_seconds += seconds
        self._clock = now
        self.record.write_step(counters, loss, losses)
        for text in self.signs.check_step(own):
            self.record.write_warning(counters, text)
        # One loss that is not finite has no weight, and so has a step; many in a row are the end.
        counters.nonfinite_steps = 0 if finite.any() else counters.nonfinite_steps + 1
        if counters.nonfinite_steps >= self.max_nonfinite_steps:
            raise FloatingPointError(
                f"no loss was finite in the last {counters.nonfinite_steps} steps, up to step "
                f"{step}: lower learning_rate or perturbation_scale; if this began at the first "
                "step, the model's own loss is not finite"
            )

    def _evaluate(self, params: PyTree) -> None:
        counters, scores, start = self.counters, None, time.perf_counter()
        if self.evaluate is not None:
            try:
                with self.interruption.evaluation() as wanted:
                    scores = dict(self.evaluate(params)) if wanted else None
            except KeyboardInterrupt:
                scores = None
        counters.after = scores
        if counters.step == 0:
            counters.before = scores
        self._clock = time.perf_counter()
        counters.evaluation_seconds += self._clock - start
        if scores is None:
            return
        counters.evaluation_forward_passes += self.evaluation_passes
        best = None
        if self.selection is not None:
            best = self.selection.consider(counters.step, params, scores)
        self.record.write_evaluation(counters, scores, best)
        for text in self.signs.check_evaluation(scores["loss"]) if "loss" in scores else ():
            self.record.write_warning(counters, text)
