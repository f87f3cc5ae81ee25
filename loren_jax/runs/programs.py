"""The two programs of a run's step, compiled before any is called.

A run takes them apart, as it writes the losses between them down: a replay runs the second alone,
for the same bits.
"""

import hashlib
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from loren_jax.evaluation._perturbed.query import collect_built
from loren_jax.losses._per_example import bind, require_separable
from loren_jax.runs import processes
from loren_jax.transforms import TrainStep
from loren_jax.transforms.steps import warn_of_built
from loren_jax.types import PyTree


class Programs(NamedTuple):
    """A step's programs, compiled for the arguments of a run.

    `probe` is `(params, state, batch) -> losses`, of shape `(K, S)`, and `absorb` `(params, state,
    losses) -> (params, state)`, which overwrites both. The digests are of what they compute, as far
    as their text says it; the bytes what the larger one needs beside what it is given and gives.
    """

    probe: Callable[..., jax.Array | np.ndarray]
    absorb: Callable[..., tuple[PyTree, PyTree]]
    losses_shape: tuple[int, int]
    seconds: float
    temporary_bytes: int | None
    loss_digest: str
    absorb_digest: str


def compile_step(
    loss: Callable[..., Any],
    optimizer: optax.GradientTransformationExtraArgs,
    params: PyTree,
    state: PyTree,
    batch: PyTree,
    full_batch: PyTree | None,
    frozen: tuple[Any, ...],
    judge: Callable[[PyTree, PyTree], Any] | None = None,
) -> Programs:
    """Compiles a step of `loss(params, batch, *frozen)` for a batch.

    Batches of another shape have a program of their own, compiled when the first of them comes.
    `full_batch` is all data, for a method that needs it, else None. With a `judge` the loss gives
    what that makes the losses of, on the host.
    """

    def functions(batch: PyTree, full: PyTree | None, frozen: tuple[Any, ...]):
        data = {"value_fn": batch, "full_value_fn": full}
        value = loss if judge is None else lambda *given: (jnp.zeros(()), loss(*given))
        of = lambda batch: bind(value, batch, *frozen)
        return {name: of(x) for name, x in data.items() if x is not None}

    require_separable(loss, params, batch, *frozen)
    start, step = time.perf_counter(), TrainStep(functions, optimizer, judge is not None)
    with collect_built() as built:
        probe = step.probe.trace(params, state, batch, full_batch, frozen)
    warn_of_built(built, params)
    options = _options((params, frozen))
    first = probe.lower().compile(compiler_options=options)
    programs = {_shapes(batch): first}

    def probe_batch(params: PyTree, state: PyTree, batch: PyTree) -> jax.Array | np.ndarray:
        if (shapes := _shapes(batch)) not in programs:
            lowered = step.probe.trace(params, state, batch, full_batch, frozen).lower()
            programs[shapes] = lowered.compile(compiler_options=options)
        found = programs[shapes](params, state, batch, full_batch, frozen)
        return found if judge is None else _judge(judge, found[1], batch, losses)

    losses = optax.tree.get(state, "losses")
    absorb = step.absorb.trace(params, state, jax.ShapeDtypeStruct(losses.shape, losses.dtype))
    second = absorb.lower().compile()
    sizes = [getattr(p.memory_analysis(), "temp_size_in_bytes", None) for p in (first, second)]
    return Programs(
        probe=probe_batch,
        absorb=_one_at_a_time(second),
        losses_shape=losses.shape,
        seconds=time.perf_counter() - start,
        temporary_bytes=max((size for size in sizes if size is not None), default=None),
        loss_digest=_digest(probe.jaxpr),
        absorb_digest=_digest(absorb.jaxpr),
    )


def _shapes(batch: PyTree) -> tuple[Any, ...]:
    """What a program is compiled for."""
    leaves, structure = jax.tree.flatten(batch)
    return structure, *((np.shape(leaf), getattr(leaf, "dtype", type(leaf))) for leaf in leaves)


def _judge(
    judge: Callable[[PyTree, PyTree], Any], observed: PyTree, batch: PyTree, losses: jax.Array
) -> np.ndarray:
    """What the judge of the first process says, on all of them."""
    observed, batch = (jax.tree.map(processes.whole, tree) for tree in (observed, batch))
    made = processes.broadcast_array(lambda: np.asarray(judge(observed, batch), losses.dtype))
    if made.shape != losses.shape:
        raise ValueError(
            f"judge gave losses of shape {made.shape}, but the step has {losses.shape}: one for "
            "each query, rows are directions and columns points"
        )
    return made


def _one_at_a_time(absorb: Callable[..., Any]) -> Callable[..., Any]:
    """On several virtual devices of a CPU, a step at a time."""
    # They share a few threads: steps that wait in line would take those that the running one
    # needs to answer the other processes, and none would ever go on.
    if jax.default_backend() != "cpu" or jax.local_device_count() == 1:
        return absorb
    return lambda *arguments: jax.block_until_ready(absorb(*arguments))


def _digest(jaxpr: Any) -> str:
    """Of the program's text, without the addresses in it, which differ from process to process."""
    text = re.sub(r"0x[0-9a-f]+|<locals>\.\S*", "", str(jaxpr))
    return hashlib.sha256(text.encode()).hexdigest()


def _options(weights: PyTree) -> dict[str, bool | str] | None:
    """On a CPU bfloat16 is multiplied in float32, and XLA would convert all layers beforehand.

    With jax 0.10.2 that takes twice the parameters. 0.12.0.1 plans no copy of all layers and still
    knows the option, which then changes next to nothing: 0.19 of the parameters instead of 0.21.
    """
    narrow = any(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(weights))
    if not narrow or jax.default_backend() != "cpu":
        return None
    return {"xla_disable_hlo_passes": "while-loop-invariant-code-motion"}
