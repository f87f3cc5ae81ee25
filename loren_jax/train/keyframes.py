"""Keyframes: what a run needs to go on from a step without replaying the ones before it.

A keyframe is an Orbax checkpoint and, written after it, a small JSON file with its digest. A
keyframe without that file, or with another digest, is one that a crash left behind: it is passed
over. Only trained parameters are in it, as the frozen ones are the base model's.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax import noise
from loren_jax.train.run_directory import read_json, write_json
from loren_jax.types import PyTree


class Keyframe(NamedTuple):
    """A run between two steps.

    Attributes:
        step: Steps taken.
        trees: Arrays by name, such as the trained parameters and the optimiser's state.
        facts: Whatever else there is to know, as JSON values.
    """

    step: int
    trees: dict[str, PyTree]
    facts: dict[str, Any]


class Keyframes:
    """The keyframes of a run, of which the newest two are kept.

    Args:
        directory: Where they are.
    """

    def __init__(self, directory: Path):
        self._directory = directory.absolute()

    def steps(self) -> list[int]:
        """Steps of the keyframes that are there, valid or not, the newest first."""
        names = (path.stem for path in self._directory.glob("*.json"))
        return sorted((int(name) for name in names if name.isdigit()), reverse=True)

    def save(self, keyframe: Keyframe) -> None:
        """Writes a keyframe; until it is whole, the ones before it count.

        Args:
            keyframe: The run between two steps.

        Raises:
            OSError: If the disk is full; the ones before it are still there.
        """
        self._directory.mkdir(exist_ok=True)
        arrays, file = _flattened(keyframe.trees), self._file(keyframe.step)
        file.unlink(missing_ok=True)
        checkpoint = self._directory / str(keyframe.step)
        shutil.rmtree(checkpoint, ignore_errors=True)
        try:
            with _checkpointer() as checkpointer:
                checkpointer.save(checkpoint, arrays)
                checkpointer.wait_until_finished()
        except Exception as error:  # Orbax has many for a disk that is full
            shutil.rmtree(checkpoint, ignore_errors=True)
            raise OSError(
                f"the keyframe {checkpoint} cannot be written ({error}); make room and resume: "
                "every step is in the journal"
            ) from error
        values = {"step": keyframe.step, "digest": _digest(checkpoint), "facts": keyframe.facts}
        write_json(file, values)
        for step in self.steps()[2:]:
            self._remove(step)

    def newest(self, templates: Mapping[str, PyTree], until: int) -> Keyframe | None:
        """The newest keyframe that is whole and not beyond a step.

        Args:
            templates: Trees of the structure and the shapes of those that were saved.
            until: The latest step that will do.

        Returns:
            The keyframe, or None if there is none.
        """
        for step in self.steps():
            if step <= until and (found := self._read(step, templates)) is not None:
                return found
        return None

    def drop_after(self, step: int) -> None:
        """Removes the keyframes of later steps, whole or not."""
        for later in self.steps():
            if later > step:
                self._remove(later)

    def _read(self, step: int, templates: Mapping[str, PyTree]) -> Keyframe | None:
        try:
            values, checkpoint = read_json(self._file(step)), self._directory / str(step)
            if _digest(checkpoint) != values["digest"]:  # Orbax would ask for it in its own way
                return None
            with _checkpointer() as checkpointer:
                arrays = checkpointer.restore(checkpoint)
            trees = {name: _filled(name, tree, arrays) for name, tree in templates.items()}
            return Keyframe(step, trees, values["facts"])
        except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError):
            return None

    def _remove(self, step: int) -> None:
        self._file(step).unlink(missing_ok=True)
        shutil.rmtree(self._directory / str(step), ignore_errors=True)

    def _file(self, step: int) -> Path:
        return self._directory / f"{step}.json"


def _checkpointer() -> Any:
    import orbax.checkpoint

    logging.getLogger("absl").setLevel(logging.ERROR)  # it tells of every file it writes
    if jax.process_count() == 1:
        return orbax.checkpoint.StandardCheckpointer()
    own = orbax.checkpoint.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix="keyframes",
    )
    return orbax.checkpoint.StandardCheckpointer(multiprocessing_options=own)


def _digest(directory: Path) -> str:
    """Of the names and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(directory)} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _flattened(trees: Mapping[str, PyTree]) -> dict[str, np.ndarray]:
    """All leaves under names that sort in their order; keys as the numbers that they are."""
    return {
        f"{name}.{number:06}": np.asarray(noise.words(leaf) if _is_key(leaf) else leaf)
        for name, tree in trees.items()
        for number, leaf in enumerate(jax.tree.leaves(tree))
    }


def _filled(name: str, template: PyTree, arrays: Mapping[str, Any]) -> PyTree:
    """The leaves of one tree in their places."""

    def leaf(number: int, like: jax.Array) -> jax.Array:
        array = jnp.asarray(arrays[f"{name}.{number:06}"])
        array = noise.from_words(array) if _is_key(like) else array
        if array.shape != like.shape or array.dtype != like.dtype:
            raise ValueError(f"{name}: a leaf is {array.dtype}{array.shape}, not {like.shape}")
        return array

    leaves, structure = jax.tree.flatten(template)
    return structure.unflatten([leaf(number, like) for number, like in enumerate(leaves)])


def _is_key(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
