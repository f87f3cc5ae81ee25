"""Which processes and devices a run has."""

import math
from dataclasses import dataclass

from loren_jax.arguments import count, positive

AXES = ("population", "data", "model")
"""Axes of a mesh, the model's last: its devices are the nearest to each other."""


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
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
        peer_timeout: Seconds of silence after which a process counts as dead or hanging, and the
            run ends on all.
        step_timeout: Seconds without any progress after which the run ends on all; a step, a
            compilation and a batch of an evaluation must each take less.
    """

    mesh: str | None = None
    coordinator: str | None = None
    process_id: int | None = None
    num_processes: int | None = None
    distributed: bool = False
    peer_timeout: float = 60.0
    step_timeout: float = 1800.0

    def __post_init__(self) -> None:
        if self.mesh is not None:
            mesh_sizes(self.mesh)
        positive("peer_timeout", self.peer_timeout)
        positive("step_timeout", self.step_timeout)
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
        if self.coordinator is not None and not _is_address(self.coordinator):
            raise ValueError(
                f"coordinator is {self.coordinator!r}: give HOST:PORT of process 0, such as "
                "10.0.0.1:1234."
            )
        if self.process_id is not None and self.num_processes is not None and not missing:
            _check_number(self.process_id, self.num_processes)

    @property
    def joins(self) -> bool:
        """Whether this process is one of a group."""
        return self.distributed or self.coordinator is not None


def mesh_sizes(text: str) -> dict[str, int]:
    """The devices along each axis.

    Args:
        text: Such as `population=2,data=4`.

    Returns:
        A size for each of `AXES`.

    Raises:
        ValueError: If the text says anything else.

    Example:
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


def mesh_text(sizes: dict[str, int]) -> str:
    """The inverse of `mesh_sizes`.

    Example:
        >>> mesh_text({"population": 4, "data": 1, "model": 2})
        'population=4,data=1,model=2'
    """
    return ",".join(f"{name}={size}" for name, size in sizes.items())


def require_devices(sizes: dict[str, int], available: int) -> None:
    """Raises unless a mesh takes the devices that there are.

    Args:
        sizes: Of the mesh.
        available: Devices of all processes.

    Raises:
        ValueError: If it takes more or fewer.
    """
    wanted = math.prod(sizes.values())
    if wanted != available:
        raise ValueError(
            f"mesh: {mesh_text(sizes)} takes {wanted} devices, but the processes of this run have "
            f"{available}; give sizes whose product is {available}. A CPU is one device unless "
            "JAX_NUM_CPU_DEVICES says more."
        )


def _is_address(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    return bool(host and colon and port.isdecimal())


def _check_number(process_id: int, num_processes: int) -> None:
    if process_id >= num_processes:
        raise ValueError(
            f"process_id is {process_id}, but num_processes is {num_processes}: processes count "
            f"from 0 to {num_processes - 1}."
        )
