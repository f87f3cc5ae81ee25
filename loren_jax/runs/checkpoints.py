"""Checkpoints: what a run needs to go on from a step without replaying the ones before it.

Orbax's CheckpointManager writes them, each whole or not at all, and keeps the newest two. Only
trained parameters are in one, as the frozen ones are those that the run began with.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax import noise
from loren_jax.runs import processes
from loren_jax.runs.record import Counters
from loren_jax.runs.selection import Selection, chosen_leaves, with_leaves
from loren_jax.types import PyTree


class Checkpoint(NamedTuple):
    """A run behind a step: arrays by name, and whatever else there is to know, as JSON values."""

    step: int
    trees: dict[str, PyTree]
    facts: dict[str, Any]


class Checkpoints:
    """The checkpoints of a run, in a folder that is made with the first; one process has them."""

    def __init__(self, directory: Path):
        self._directory = directory.absolute()
        self._opened: Any = None

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint, of host arrays; until it is whole, the ones before it count.

        An OSError, as of a full disk, leaves those as they are.
        """
        import orbax.checkpoint as orbax

        items = orbax.args.Composite(
            arrays=orbax.args.StandardSave(_flatten(checkpoint.trees)),
            facts=orbax.args.JsonSave(checkpoint.facts),
        )
        try:
            manager = self._manager()
            if checkpoint.step in manager.all_steps():
                manager.delete(checkpoint.step)
            manager.save(checkpoint.step, args=items, force=True)
            manager.wait_until_finished()
        except Exception as error:  # Orbax has many for a disk that is full
            raise OSError(
                f"the checkpoint {self._directory / str(checkpoint.step)} cannot be written "
                f"({error}); make room and resume: every step is in the journal"
            ) from error

    def newest(self, templates: Mapping[str, PyTree], until: int) -> Checkpoint | None:
        """The newest checkpoint that can be read and is not beyond a step; later ones are removed.

        The templates have the structure and the shapes of the trees that were saved.
        """
        if not self._directory.is_dir():
            return None
        found = None
        for step in sorted(self._manager().all_steps(), reverse=True):
            if step > until:
                self._manager().delete(step)
            elif found is None:
                found = self._read(step, templates)
        return found

    def _read(self, step: int, templates: Mapping[str, PyTree]) -> Checkpoint | None:
        """None for one that a crash of the machine, or somebody, has damaged."""
        import orbax.checkpoint as orbax

        items = orbax.args.Composite(
            arrays=orbax.args.StandardRestore(), facts=orbax.args.JsonRestore()
        )
        # Orbax raises whatever its many layers do; the journal makes the step again in any case.
        with contextlib.suppress(Exception):
            read = self._manager().restore(step, args=items)
            trees = {n: _fill(n, tree, read["arrays"]) for n, tree in templates.items()}
            return Checkpoint(step, trees, read["facts"])
        return None

    def _manager(self) -> Any:
        if self._opened is None:
            import orbax.checkpoint as orbax

            logging.getLogger("absl").setLevel(logging.ERROR)  # it tells of every file it writes
            own = orbax.options.MultiprocessingOptions()
            if jax.process_count() > 1:
                own = orbax.options.MultiprocessingOptions(
                    primary_host=jax.process_index(),
                    active_processes={jax.process_index()},
                    barrier_sync_key_prefix="checkpoints",
                )
            self._directory.mkdir(exist_ok=True)
            options = orbax.CheckpointManagerOptions(
                max_to_keep=2,
                create=False,
                enable_async_checkpointing=False,
                multiprocessing_options=own,
            )
            self._opened = orbax.CheckpointManager(self._directory, options=options)
        return self._opened


class Restart:
    """From where a run goes on: its checkpoints, with all that is kept in one.

    The mask says by path which leaves are trained; the selection is None where the last parameters
    are kept.
    """

    def __init__(
        self, checkpoints: Checkpoints, mask: Callable[[str], bool], selection: Selection | None
    ):
        self._checkpoints, self._mask, self._selection = checkpoints, mask, selection

    def restore(self, params: PyTree, state: PyTree, until: int) -> tuple[PyTree, PyTree, Counters]:
        """Parameters, state and counts of the newest checkpoint, of steps that the journal has.

        Where there is none, those before the first step, which are given, and no counts.
        """
        chosen = chosen_leaves(params, self._mask)
        templates = {"trained": chosen, "state": state}
        if self._selection is not None:
            templates["best"] = chosen
        found: list[Checkpoint | None] = []

        def newest() -> Any:
            found.append(self._checkpoints.newest(templates, until))
            facts = None if found[0] is None else found[0].facts
            if facts is not None and self._selection is not None:
                # What another score chose is of no use: the journal leads to all evaluations again.
                same = facts["selection"].get("score") == self._selection.facts()["score"]
                return facts if same else None
            return facts

        facts = processes.broadcast(newest)
        if facts is None:
            return params, state, Counters()
        read = found[0].trees if found and found[0] is not None else {}
        trees = {n: processes.broadcast_tree(read.get(n), like) for n, like in templates.items()}
        if self._selection is not None:
            self._selection.go_on(facts["selection"], trees["best"])
        counters = Counters(**facts["counters"])
        return with_leaves(params, trees["trained"]), trees["state"], counters

    def save(self, params: PyTree, state: PyTree, counters: Counters) -> None:
        """Writes a checkpoint; all processes must call it."""
        trees = {"trained": chosen_leaves(params, self._mask), "state": state}
        facts: dict[str, Any] = {"counters": counters.as_json()}
        if self._selection is not None:
            best = self._selection.best
            facts["selection"] = self._selection.facts()
            trees["best"] = trees["trained"] if best is None else best.leaves
        trees = {name: processes.on_host(tree) for name, tree in trees.items()}
        if processes.first():
            self._checkpoints.save(Checkpoint(counters.step, trees, facts))


def _flatten(trees: Mapping[str, PyTree]) -> dict[str, np.ndarray]:
    """All leaves under names that sort in their order; keys as the numbers that they are.

    But those without numbers, which Orbax does not write.
    """
    return {
        f"{name}.{number:06}": np.asarray(noise.words(leaf) if processes.is_key(leaf) else leaf)
        for name, tree in trees.items()
        for number, leaf in enumerate(jax.tree.leaves(tree))
        if np.size(leaf)
    }


def _fill(name: str, template: PyTree, arrays: Mapping[str, Any]) -> PyTree:
    """The leaves of one tree in their places."""

    def leaf(number: int, like: jax.Array) -> jax.Array:
        if not like.size:
            return like
        array = jnp.asarray(arrays[f"{name}.{number:06}"])
        array = noise.from_words(array) if processes.is_key(like) else array
        if array.shape != like.shape or array.dtype != like.dtype:
            raise ValueError(f"{name}: a leaf is {array.dtype}{array.shape}, not {like.shape}")
        return array

    leaves, structure = jax.tree.flatten(template)
    return structure.unflatten([leaf(number, like) for number, like in enumerate(leaves)])
