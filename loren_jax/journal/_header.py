"""What a journal says of its run: from what parameters, by what method, written with what."""

import hashlib
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from loren_jax import arguments, noise
from loren_jax.journal.method import Method
from loren_jax.journal.records import JournalError
from loren_jax.precision import loss_dtype
from loren_jax.types import PyTree
from loren_jax.version import installed_version

GENERATED_BY: Mapping[str, Any] = {"generator": noise.GENERATOR, "partitionable": True}
"""What decides the numbers that are drawn: the generator, and that it is used as JAX does under
`jax_threefry_partitionable`. `loren_jax.noise` keeps to both, whatever JAX's flags say."""


def header(
    params: PyTree,
    losses_shape: tuple[int, int],
    *,
    method: Method | None = None,
    run: Mapping[str, Any] | None = None,
    mesh: str = "",
    read: Callable[[Any], np.ndarray] = np.asarray,
) -> dict[str, Any]:
    """A journal's header.

    Args:
      params: the parameters before the first step.
      losses_shape: `(K, S)`, of the losses of one step.
      method: how the optimiser is built; None if the caller of `replay` passes it.
      run: whatever else tells where the run came from, as JSON values.
      mesh: the devices of the run, in words; empty for one.
      read: gives a leaf's numbers, all of them, where a device has some only.

    Returns:
      JSON values.

    >>> made = header({"w": np.zeros((2, 3), np.float32)}, (6, 1))
    >>> made["losses"], made["params"]["leaves"]
    ([6, 1], [['w', [2, 3], 'float32']])
    """
    return {
        "losses": list(losses_shape),
        # Nothing for float32, so that older versions read the journal.
        **({} if loss_dtype() == np.float32 else {"losses_dtype": loss_dtype().name}),
        **GENERATED_BY,
        "method": None if method is None else method.as_json(),
        "params": describe(params, read),
        "written_with": rounding_environment(mesh),
        "run": {} if run is None else dict(run),
    }


def axes_of(header: Mapping[str, Any]) -> Any:
    """By which axes a run reads its leaves as matrices; None where their names decide alone.

    Args:
      header: of its journal.

    Returns:
      The name of a function of this library, or fan-in and fan-out axes by path.
    """
    return (header["method"] or header["run"]).get("matrix_axes")


def describe(params: PyTree, read: Callable[[Any], np.ndarray] = np.asarray) -> dict[str, Any]:
    """The leaves of a tree, and a digest of their names and bits.

    Args:
      params: a tree of arrays.
      read: gives a leaf's numbers; see `header`.

    Returns:
      `leaves`, of each its `noise_paths`, shape and dtype; `digest`, SHA-256 in hexadecimal.

    Raises:
      ValueError: an array has been deleted, as a step deletes those that it changes in place.
    """
    arguments.not_deleted("params", params)
    leaves, digest = [], hashlib.sha256()
    for path, leaf in zip(noise.noise_paths(params), jax.tree.leaves(params), strict=True):
        array = read(leaf)
        facts = [path, list(array.shape), array.dtype.name]
        leaves.append(facts)
        digest.update(repr(facts).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return {"leaves": leaves, "digest": digest.hexdigest()}


def require_same(found: Mapping[str, Any], wanted: Mapping[str, Any], what: str) -> None:
    """Raises unless two trees are the same to the bit, by what `describe` says of them.

    Args:
      found: of the tree at hand.
      wanted: of the journal.
      what: what the tree is called in the message.

    Raises:
      JournalError: they differ; the message names the first leaf that does.
    """
    ours = {path: (tuple(shape), dtype) for path, shape, dtype in found["leaves"]}
    theirs = {path: (tuple(shape), dtype) for path, shape, dtype in wanted["leaves"]}
    for path in [*theirs, *ours]:
        if ours.get(path) != theirs.get(path):
            raise JournalError(
                f"{what}: leaf {path!r} is {_leaf(ours.get(path))}, but the journal's run had "
                f"{_leaf(theirs.get(path))}; use the model that the run began with"
            )
    if found["digest"] != wanted["digest"]:
        raise JournalError(
            f"{what}: shapes and dtypes are those of the journal's run, but the numbers are not "
            f"(digest {found['digest'][:12]}, the journal has {wanted['digest'][:12]}); use the "
            "very checkpoint, dtype and seed that the run began with"
        )


def require_replayable(header: Mapping[str, Any], path: str | Path) -> None:
    """Raises unless the losses and directions of a run are to be had here; `path` is its file's."""
    if _losses_type(header) == "float64" != loss_dtype().name:
        raise JournalError(
            f"{path}: its losses are float64, which JAX has switched off here: set "
            "JAX_ENABLE_X64=1, or jax.config.update('jax_enable_x64', True)"
        )
    if different := _draw_changes(header):
        raise JournalError(
            f"{path}: its directions were drawn otherwise than here ({'; '.join(different)}), so "
            "that a replay would move along others; use the program that wrote it"
        )


def _draw_changes(header: Mapping[str, Any]) -> list[str]:
    """A header that does not say is of a version that had no choice."""
    return _changes({**GENERATED_BY, **header}, GENERATED_BY)


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    shown = lambda value: "none" if value == "" else value
    return [
        f"{name} {shown(then.get(name, 'unknown'))} then, {shown(value)} now"
        for name, value in now.items()
        if then.get(name) != value
    ]


def _leaf(facts: tuple[tuple[int, ...], str] | None) -> str:
    return "absent" if facts is None else f"{facts[1]}{list(facts[0])}"


def rounding_environment(mesh: str = "") -> dict[str, str]:
    """What decides how a float is rounded: versions, back end, processor and mesh."""
    return {
        **{name: installed_version(name) for name in ("jax", "jaxlib", "optax", "loren-jax")},
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
        "machine": f"{platform.machine()} {_processor()}".strip(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "mesh": mesh,
    }


def differences(header: Mapping[str, Any], mesh: str = "") -> list[str]:
    """In what this process differs from the one that wrote a journal, where rounding may.

    Args:
      header: a journal's header.
      mesh: the devices of this process, in words; empty for one.

    Returns:
      Phrases such as `jax 0.10.2 then, 0.12.0 now`; empty if a replay gives the same bits.
    """
    kept = _changes({"losses in": _losses_type(header)}, {"losses in": loss_dtype().name})
    written = _changes({"mesh": "", **header["written_with"]}, rounding_environment(mesh))
    return kept + _draw_changes(header) + written


def _losses_type(header: Mapping[str, Any]) -> str:
    return header.get("losses_dtype", "float32")


def _processor() -> str:
    """The processor's model: the same program is compiled to other instructions on another."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()
