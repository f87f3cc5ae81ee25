"""The processes of a run, by JAX's own runtime: joining them, and telling all what one knows.

Each process runs the same program; the first alone reads and writes the run's directory. JAX's
coordination service hears a heartbeat of each. One that dies or hangs ends the run on all of them
with an error, as soon as it has been silent for the time-out; the run is then resumed.
"""

import atexit
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.typing import ArrayLike

from loren_jax import noise
from loren_jax.types import JSON, PyTree

_FAILED = 2
_PATIENCE = 2.0
"""Seconds that the others have to say what became of them."""


def first() -> bool:
    """Whether this process is the one that reads and writes files."""
    return jax.process_index() == 0


@contextmanager
def join(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout: float = 100.0,
) -> Iterator[None]:
    """Joins the processes of a run, for as long as it takes.

    Must be entered before anything asks JAX for a device. Where this process fails it ends without
    JAX's shutdown, which would wait for the others; they end when its heartbeat is missed. The
    coordinator is `HOST:PORT` of process 0, None where the cluster knows all three; the run ends
    on all after so many seconds of silence of one.
    """
    # Process 0 passes a scheduler's SIGTERM on, so that all stop behind one step.
    jax.config.update("jax_enable_preemption_service", True)
    jax.distributed.initialize(
        coordinator,
        num_processes,
        process_id,
        heartbeat_timeout_seconds=max(1, round(timeout)),
        shutdown_timeout_seconds=max(1, round(timeout)),
    )
    failed = False

    def leave() -> None:
        if failed and jax.process_count() > 1:
            sys.stdout.flush()
            sys.stderr.flush()
            if first():  # with it ends the service that the others hear from
                time.sleep(_PATIENCE)
            os._exit(_FAILED)

    atexit.register(leave)
    try:
        yield
    except BaseException:
        failed = True
        raise


def broadcast(make: Callable[[], JSON]) -> Any:
    """What the first process makes, on all of them, as JSON values; its errors too.

    All must ask in one order. An error of the first is a RuntimeError on the others.
    """
    if jax.process_count() == 1:
        return make()
    failure, text = None, ""
    if first():
        try:
            text = json.dumps({"made": make()})
        except Exception as error:
            failure, text = error, json.dumps({"failed": str(error)})
    sent = np.frombuffer(text.encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.asarray(len(sent), np.int32)))
    whole = np.zeros(size, np.uint8)
    whole[: len(sent)] = sent
    found = json.loads(np.asarray(multihost_utils.broadcast_one_to_all(whole)).tobytes())
    if failure is not None:
        raise failure
    if "failed" in found:
        raise RuntimeError(f"process 0 failed: {found['failed']}")
    return found["made"]


def broadcast_array(make: Callable[[], np.ndarray]) -> np.ndarray:
    """An array that the first process makes, on all of them; see `broadcast`."""
    if jax.process_count() == 1:
        return make()
    made: list[np.ndarray] = []

    def facts() -> JSON:
        made.append(make())
        return [made[0].dtype.name, list(made[0].shape)]

    name, shape = broadcast(facts)
    own = made[0] if made else np.zeros(shape, name)
    return np.asarray(multihost_utils.broadcast_one_to_all(own)).astype(name)


def whole(leaf: ArrayLike) -> np.ndarray:
    """An array on the host; one that several processes share is gathered, so all must ask."""
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
        return np.asarray(leaf)
    if leaf.is_fully_replicated:
        return np.asarray(leaf.addressable_data(0))
    return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))


def on_host(tree: PyTree) -> PyTree:
    """A tree of host arrays on the first process; the others help to gather and keep nothing."""
    if jax.process_count() == 1:
        return tree

    def read(leaf: jax.Array) -> Any:
        found = whole(noise.words(leaf) if is_key(leaf) else leaf)
        if not first():
            return None
        return noise.from_words(jnp.asarray(found)) if is_key(leaf) else found

    return jax.tree.map(read, tree)


def broadcast_tree(tree: PyTree | None, template: PyTree) -> PyTree:
    """A tree that the first process has, sent leaf by leaf and placed like the template."""
    given = [None] * len(jax.tree.leaves(template)) if tree is None else jax.tree.leaves(tree)
    leaves, structure = jax.tree.flatten(template)
    return structure.unflatten(map(_broadcast_leaf, given, leaves))


def _broadcast_leaf(value: Any, like: jax.Array | jax.ShapeDtypeStruct) -> jax.Array:
    if is_key(like):
        struct = jax.eval_shape(noise.words, like)
        words = jax.ShapeDtypeStruct(struct.shape, struct.dtype, sharding=like.sharding)
        sent = _broadcast_leaf(None if value is None else noise.words(value), words)
        return jax.jit(noise.from_words)(sent)
    own = np.zeros(like.shape, like.dtype) if value is None else np.asarray(value)
    if jax.process_count() > 1:
        own = np.asarray(multihost_utils.broadcast_one_to_all(own)).astype(own.dtype)
    return jax.make_array_from_callback(own.shape, like.sharding, lambda index: own[index])


def is_key(leaf: Any) -> bool:
    """Whether a leaf is an array of typed keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
