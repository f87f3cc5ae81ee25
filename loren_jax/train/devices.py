"""Which processes and devices a run has, and the mesh that is made of them."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding

from loren_jax.arguments import count, positive
from loren_jax.evaluation import Sharded, sharded
from loren_jax.models import tensor_parallel
from loren_jax.runs import processes

AXES = ("population", "data", "model")
"""Axes of a mesh, the model's last: its devices are the nearest to each other."""


@dataclass(frozen=True, kw_only=True)
class DevicesConfig:
    """The processes and devices of a run, which are no part of what is computed.

    Attributes:
      mesh: Devices along each axis, like population=2,data=2,model=2: of `population` each
        evaluates its share of the directions, of `data` its rows of a batch, of `model` its
        part of the weights. Axes that are left out have one device. By default one device, or
        with several processes a population of all devices.
      coordinator: HOST:PORT of process 0, the same on every process of the run.
      process_id: Number of this process, from 0.
      num_processes: Processes of the run.
      distributed: Several processes, of which the cluster says who is who: Cloud TPU, Slurm,
        Open MPI, Kubernetes.
      heartbeat_timeout: Seconds of silence after which a process counts as dead or hanging, and
        the run ends on all.
    """

    mesh: str | None = None
    coordinator: str | None = None
    process_id: int | None = None
    num_processes: int | None = None
    distributed: bool = False
    heartbeat_timeout: float = 100.0

    def __post_init__(self) -> None:
        if self.mesh is not None:
            mesh_sizes(self.mesh)
        positive("heartbeat_timeout", self.heartbeat_timeout)
        if self.num_processes is not None:
            count("num_processes", self.num_processes)
        if self.process_id is not None:
            count("process_id", self.process_id, 0)
        given = {
            "coordinator": self.coordinator,
            "process_id": self.process_id,
            "num_processes": self.num_processes,
        }
        missing = [name for name, value in given.items() if value is None]
        if 0 < len(missing) < 3 and not self.distributed:
            raise ValueError(
                f"{missing[0]} is missing: give coordinator, process_id and num_processes, or "
                "distributed alone where the cluster knows them."
            )
        host, _, port = (self.coordinator or "").rpartition(":")
        if self.coordinator is not None and not (host and port.isdecimal()):
            raise ValueError(
                f"coordinator is {self.coordinator!r}: give HOST:PORT of process 0, such as "
                "10.0.0.1:1234."
            )
        number, of = self.process_id, self.num_processes
        if number is not None and of is not None and self.coordinator and number >= of:
            raise ValueError(
                f"process_id is {number}, but num_processes is {of}: processes count from 0 to "
                f"{of - 1}."
            )

    @property
    def joins(self) -> bool:
        """Whether this process is one of a group."""
        return self.distributed or self.coordinator is not None


class Devices:
    """The mesh of a run, of one device where nothing else is asked for, from devices along `AXES`.

    `sharding` says `(path, shape) -> NamedSharding` of the model's parameters; adapters, where they
    are what is trained, are whole on every device.
    """

    def __init__(self, sizes: Mapping[str, int], *, adapters: bool = False):
        if unknown := sizes.keys() - set(AXES):
            raise ValueError(
                f"mesh has the axis {min(unknown)!r}: give sizes of {', '.join(AXES)}, of which "
                "those left out are 1."
            )
        sizes = dict.fromkeys(AXES, 1) | dict(sizes)
        shape, kinds = tuple(sizes[name] for name in AXES), (AxisType.Auto,) * len(AXES)
        if math.prod(shape) > jax.device_count():
            require_devices(sizes, jax.device_count())
        chosen = jax.devices()[: math.prod(shape)]
        mesh = jax.make_mesh(shape, AXES, axis_types=kinds, devices=chosen)
        rule = tensor_parallel("model", sizes["model"])
        divided = rule if sizes["model"] > 1 and not adapters else None
        self.evaluation: Sharded = sharded(
            mesh, population="population", data="data", weights=divided
        )
        self.sharding: Any = lambda path, shape: NamedSharding(mesh, rule(path, shape))

    def require_batch(self, batch_size: int, micro_batch_size: int | None) -> None:
        """Raises a ValueError unless the devices of the axis `data` can divide a batch."""
        parts = self.evaluation.mesh.shape["data"]
        for name, rows in (("batch_size", batch_size), ("micro_batch_size", micro_batch_size)):
            if rows is not None and rows % parts:
                raise ValueError(
                    f"{name} is {rows}, which {parts} devices of the mesh's axis data cannot "
                    f"divide; give a multiple of {parts}"
                )


@contextmanager
def join_processes(config: DevicesConfig) -> Iterator[dict[str, int]]:
    """Joins the processes that a configuration names, for the run; yields mesh sizes.

    Must be entered before anything asks JAX for a device; see `loren_jax.runs.processes.join`.
    """
    if not config.joins:
        yield _sizes(config)
        return
    with processes.join(
        config.coordinator,
        config.num_processes,
        config.process_id,
        timeout=config.heartbeat_timeout,
    ):
        yield _sizes(config)


def _sizes(config: DevicesConfig) -> dict[str, int]:
    sizes = dict.fromkeys(AXES, 1)
    if config.mesh is not None:
        sizes = mesh_sizes(config.mesh)
    elif jax.process_count() > 1:
        sizes["population"] = jax.device_count()
    if config.mesh is not None:
        require_devices(sizes, jax.device_count())
    return sizes


def mesh_sizes(text: str) -> dict[str, int]:
    """The devices along each axis, or a ValueError where the text says anything else.

    >>> mesh_sizes("model=2,population=4")
    {'population': 4, 'data': 1, 'model': 2}
    """
    sizes = dict.fromkeys(AXES, 1)
    seen = set()
    for part in text.split(","):
        name, equals, number = (word.strip() for word in part.partition("="))
        size = int(number) if number.isdecimal() else 0
        if name not in sizes or name in seen or not equals or size < 1:
            raise ValueError(
                f"mesh is {text!r}, of which {part.strip()!r} cannot be read: give sizes of "
                f"{', '.join(AXES)}, each at most once, like population=2,data=2,model=2."
            )
        seen.add(name)
        sizes[name] = size
    return sizes


def require_devices(sizes: dict[str, int], available: int) -> None:
    """Raises a ValueError unless a mesh takes all devices of all processes."""
    wanted = math.prod(sizes.values())
    if wanted != available:
        text = ",".join(f"{name}={size}" for name, size in sizes.items())
        raise ValueError(
            f"mesh: {text} takes {wanted} devices, but the processes of this run have "
            f"{available}; give sizes whose product is {available}. A CPU is one device unless "
            "JAX_NUM_CPU_DEVICES says more."
        )
