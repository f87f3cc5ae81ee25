"""Meshes of as many devices as there are, up to two, and functions mapped over them.

What a function gives on each device is put side by side, so that every device's result matters and
none has to be the same everywhere.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import PartitionSpec

from ..drafts import Draft, Value

AXIS, REST = "devices", "rest"

DEVICES = 2
"""What a sharded axis has to be divisible by, however many there are."""

KINDS = ["whole", "whole", "whole", "checked", "partly", "rest alone"]
"""How a mesh is mapped over: all axes, with JAX's own checks, one of two axes, or the idle one.

Programs without meshes map over "single" devices.
"""


PARTLY = ("partly", "rest alone")


def kind_for(draft: Draft, *dtypes: Any) -> str:
    """How a mesh is mapped over; JAX's CPU back end dies of narrow sums over one of two axes."""
    if not draft.meshes:
        return "single"
    narrow = any(np.dtype(dtype).itemsize < 4 for dtype in dtypes)
    return draft.choice([k for k in KINDS if k not in PARTLY] if narrow else KINDS)


def size(kind: str = "whole") -> int:
    """How many devices the mapped axis has."""
    return 1 if kind in ("single", "rest alone") else min(DEVICES, jax.device_count())


def mesh(kind: str = "whole") -> Any:
    """All devices along one axis; if mapped over in part, a second axis of one."""
    auto = jax.sharding.AxisType.Auto
    if kind not in PARTLY:
        return jax.make_mesh((size(kind),), (AXIS,), axis_types=(auto,))
    shape = (size(), 1) if kind == "partly" else (1, size())
    return jax.make_mesh(shape, (AXIS, REST), axis_types=(auto, auto))


def spec(x: Value, axis: int | None) -> PartitionSpec:
    """One axis sharded, or none."""
    if axis is None:
        return PartitionSpec()
    return PartitionSpec(*[None] * axis, AXIS, *[None] * (x.ndim - axis - 1))


def local(x: Value, axis: int | None, kind: str) -> Value:
    """What a device sees."""
    shape = tuple(s // size(kind) if i == axis else s for i, s in enumerate(x.shape))
    return Value(x.number, shape, x.dtype, x.touched)


def sharded_axis(draft: Draft, x: Value, chance: float = 0.6) -> int | None:
    """An axis that the devices can share."""
    even = [i for i, s in enumerate(x.shape) if s % DEVICES == 0]
    return draft.choice(even) if even and draft.flip(chance) else None


def map_over(kind: str, function: Callable[..., Any], specs: Any, out: Any = None) -> Any:
    """`function(*local)` on every device: the results side by side, or placed as `out` says."""
    side_by_side = PartitionSpec(AXIS)
    whole = lambda *xs: function(*xs)[None] if out is None else function(*xs)
    mapped = jax.shard_map(
        whole,
        mesh=mesh(kind),
        in_specs=tuple(specs),
        out_specs=side_by_side if out is None else out,
        check_vma=kind == "checked",
        **({"axis_names": {AXIS}} if kind in PARTLY else {}),
    )
    # An axis that is the compiler's needs one.
    return jax.jit(mapped) if kind in PARTLY else mapped
