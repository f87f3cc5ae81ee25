"""Runs the steps of a run: compiles them, feeds them, records them, keeps what is best."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from loren_jax import journal
from loren_jax.diagnostics import VitalSigns
from loren_jax.noise import leaf_paths
from loren_jax.optimizers import METHODS
from loren_jax.tasks import Tokens, batch_indices
from loren_jax.train.cluster import OneDevice
from loren_jax.train.config import TrainConfig
from loren_jax.train.input_directions import passes_before
from loren_jax.train.interruption import Interruption, SharedInterruption
from loren_jax.train.keyframes import Keyframe, Keyframes
from loren_jax.train.loop import Outcome, TrainingLoop
from loren_jax.train.loss import cross_entropy
from loren_jax.train.methods import passes_of_step
from loren_jax.train.metrics import MetricsWriter, NoMetrics
from loren_jax.train.preparation import Preparation
from loren_jax.train.progress import Progress
from loren_jax.train.run_directory import KEYFRAMES
from loren_jax.train.run_journal import Recorder
from loren_jax.train.scoring import Score, Scorer
from loren_jax.train.selection import Selection
from loren_jax.train.step import compiled, make_train_step, report
from loren_jax.train.tally import Tally
from loren_jax.train.trainee import Trainee
from loren_jax.types import PyTree


class Compilation(NamedTuple):
    """What compiling the step cost, and what it will need.

    Attributes:
        seconds: Time of the compilation.
        temporary_bytes: What a step needs beside its arguments and results; None if unknown.
    """

    seconds: float
    temporary_bytes: int | None


class Trained(NamedTuple):
    """What the loop leaves.

    Attributes:
        params: The parameters of the model to keep.
        outcome: How the steps went.
        selection: What chose the parameters; None where the last ones are kept.
        test: Score on the test examples; None where there are none, or it was skipped.
        compilation: What compiling cost.
    """

    params: PyTree
    outcome: Outcome
    selection: Selection | None
    test: Score | None
    compilation: Compilation


class Training:
    """One run, ready for its first step or for the one behind its last.

    Args:
        config: What to do.
        parts: Model and data.
        trainee: What is trained.
        method: The optimiser.
        directory: Where keyframes are kept.
        devices: Where the arrays of the run lie.
        factors: Fan-in vectors of the method, if it has them.

    Attributes:
        opt_state: The optimiser's first state.
    """

    def __init__(
        self,
        config: TrainConfig,
        parts: Preparation,
        trainee: Trainee,
        method: journal.Method,
        directory: Path,
        devices: OneDevice | None = None,
        factors: Mapping[str, Any] | None = None,
    ):
        self._config, self._parts, self._trainee = config, parts, trainee
        self._devices = devices or OneDevice()
        self._optimizer = method.build(self._devices.evaluation, factors)
        self._keyframes = Keyframes(directory / KEYFRAMES)
        self.opt_state = self._devices.start(self._optimizer, trainee.params)
        self._selection = None
        if config.rules is not None:
            self._selection = Selection(parts.metrics[0], trainee.mask, config.patience)

    def newest_keyframe(self, until: int) -> Keyframe | None:
        """The newest keyframe that is whole and not beyond a step; later ones are removed."""
        templates = {"trained": self._trained(self._trainee.params), "state": self.opt_state}
        if self._selection is not None:
            templates["best"] = templates["trained"]
        found, peers = None, self._devices.peers
        if peers.first:
            self._keyframes.drop_after(until)
            found = self._keyframes.newest(templates, until)
        known = json.loads(peers.share(lambda: json.dumps(found and [found.step, found.facts])))
        if known is None:
            return None
        trees = {
            name: self._devices.sent(found and found.trees[name], template)
            for name, template in templates.items()
        }
        return Keyframe(known[0], trees, known[1])

    def run(
        self,
        metrics: MetricsWriter | NoMetrics,
        recorder: Recorder,
        keyframe: Keyframe | None = None,
    ) -> Trained:
        """Trains to the end, or until a signal.

        Args:
            metrics: Where events are recorded.
            recorder: Where losses are recorded, and come from where they are.
            keyframe: Where to begin; None for the first step.

        Returns:
            The model to keep, and how it came about.

        Raises:
            FloatingPointError: If too many steps in a row had no finite loss.
            OSError: If the journal or a keyframe cannot be written.
        """
        config, parts, trainee = self._config, self._parts, self._trainee
        params, opt_state, tally = self._begun(keyframe)
        step, compilation = self._compiled(params, opt_state, recorder)
        examples = len(parts.train.labels)
        batches, before = -(-examples // config.batch_size), passes_before(config, examples)
        name = "dev" if self._selection else "held-out"
        peers = self._devices.peers
        with Progress(config.steps, name, shown=peers.first) as progress, Interruption() as own:
            interruption = SharedInterruption(own, peers)
            loop = TrainingLoop(
                step,
                self._scorer(parts.held_out),
                # What the directions took counts to the first step.
                lambda step: passes_of_step(config.optimizer, step, batches) + before * (step == 0),
                steps=config.steps,
                eval_every=config.eval_every,
                max_dead_steps=config.max_dead_steps,
                metrics=metrics,
                progress=progress,
                interruption=interruption,
                metric=parts.metrics[0],
                selection=self._selection,
                keep_every=config.keyframe_every,
                record=recorder.record,
                keep=self._keep,
                suspects=self._suspects,
                groups=self._devices.loss_groups,
                signs=VitalSigns(config.optimizer.perturbation_scale),
            )
            outcome = loop.run(params, opt_state, tally)
            kept = self._selection.restore(outcome.params) if self._selection else outcome.params
            test = self._test(kept, interruption)
        return Trained(trainee.merged(kept), outcome, self._selection, test, compilation)

    def _begun(self, keyframe: Keyframe | None) -> tuple[PyTree, PyTree, Tally | None]:
        """Parameters, state and counts of the first step, or of a keyframe."""
        # Copies, because the steps overwrite what they are given and these may be asked for again.
        params = jax.tree.map(lambda leaf: leaf.copy(), self._trainee.params)
        if keyframe is None:
            return params, jax.tree.map(lambda leaf: leaf.copy(), self.opt_state), None
        trained = keyframe.trees["trained"]
        leaves, structure = jax.tree.flatten(params)
        pairs = zip(leaf_paths(params), leaves, strict=True)
        params = structure.unflatten([trained.get(path, leaf) for path, leaf in pairs])
        if self._selection is not None:
            self._selection.go_on(keyframe.facts["selection"], keyframe.trees["best"])
        return params, keyframe.trees["state"], Tally.from_json(keyframe.facts["tally"])

    def _compiled(
        self, params: PyTree, opt_state: PyTree, recorder: Recorder
    ) -> tuple[Any, Compilation]:
        """The step by its number: it finds its batch, or its losses in the journal."""
        config, parts, frozen = self._config, self._parts, self._trainee.frozen
        start = time.perf_counter()
        step = make_train_step(
            self._trainee.apply, self._optimizer, micro_batch_size=config.micro_batch_size
        )
        full = None
        if METHODS[config.method].full_every:
            full = self._devices.all_rows(parts.train)
        # Compiled before it is called, so that it cannot be compiled twice and its memory is known.
        step = compiled(step, params, opt_state, self._batch(0), full, frozen)
        seconds = time.perf_counter() - start

        def numbered(params: PyTree, opt_state: PyTree, number: int):
            losses: Any = recorder.losses(number)
            if losses is None:
                losses = step.probe(params, opt_state, self._batch(number), full, frozen)
            params, opt_state = step.absorb(params, opt_state, losses)
            return params, opt_state, report(opt_state)

        return numbered, Compilation(seconds, step.temporary)

    def _batch(self, step: int) -> Tokens:
        config, train = self._config, self._parts.train
        own = batch_indices(config.seed, step, len(train.labels), config.batch_size)
        return self._devices.rows(train.rows(own))

    def _keep(self, params: PyTree, opt_state: PyTree, tally: Tally) -> None:
        """Writes a keyframe."""
        facts: dict[str, Any] = {"tally": tally.as_json()}
        trees: dict[str, PyTree] = {"trained": self._trained(params), "state": opt_state}
        if self._selection is not None:
            facts["selection"], trees["best"] = self._selection.so_far()
        trees = {name: self._devices.on_host(tree) for name, tree in trees.items()}
        if self._devices.peers.first:
            self._keyframes.save(Keyframe(tally.step, trees, facts))

    def _trained(self, params: PyTree) -> dict[str, Any]:
        """The trained leaves by path."""
        pairs = zip(leaf_paths(params), jax.tree.leaves(params), strict=True)
        return {path: leaf for path, leaf in pairs if self._trainee.mask(path)}

    def _suspects(self, params: PyTree, group: int | None) -> list[int]:
        """Processes on which losses are not finite: those whose own part of the rows has none."""
        devices = self._devices
        if devices.peers.count == 1:
            return []
        tokens = self._batch(0)
        apply = lambda params, tokens, frozen: cross_entropy(
            self._trainee.apply(params, *tokens[:3], *frozen), tokens.labels
        )
        losses = jax.jit(apply)(params, tokens, self._trainee.frozen)
        own = [np.isfinite(np.asarray(shard.data)).all() for shard in losses.addressable_shards]
        wrong = [i for i, number in enumerate(devices.peers.numbers(int(not all(own)))) if number]
        if 0 < len(wrong) < devices.peers.count:
            return wrong
        return [] if group is None else devices.processes(group)

    def _scorer(self, tokens: Tokens, title: str | None = None) -> Scorer:
        return Scorer(
            self._trainee.apply,
            tokens,
            self._config.eval_batch_size,
            self._trainee.frozen,
            title=title,
            devices=self._devices,
        )

    def _test(self, params: PyTree, interruption: SharedInterruption) -> Score | None:
        """The one look at the test examples."""
        if self._parts.test is None:
            return None
        scorer = self._scorer(self._parts.test, "test" if self._devices.peers.first else None)
        return scorer(params, lambda: interruption.urgent)
