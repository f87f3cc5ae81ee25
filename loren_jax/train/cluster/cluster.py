"""Joining the processes of a run, and leaving them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from loren_jax.train.cluster.alone import Alone
from loren_jax.train.cluster.devices import OneDevice
from loren_jax.train.cluster.mesh import MeshDevices
from loren_jax.train.cluster.options import AXES, ClusterConfig, mesh_sizes, require_devices
from loren_jax.train.cluster.peers import Peers


class Cluster:
    """The processes and devices of a run.

    Args:
        peers: The processes.
        sizes: Devices along each axis of a mesh; None for one device.

    Attributes:
        peers: The processes.
    """

    def __init__(self, peers: Alone, sizes: dict[str, int] | None = None):
        self.peers, self._sizes = peers, sizes

    def devices(self, *, adapters: bool = False) -> OneDevice:
        """Where the arrays of a run lie.

        Args:
            adapters: Whether adapters are trained.

        Returns:
            The devices.
        """
        if self._sizes is None:
            return OneDevice()
        return MeshDevices(self._sizes, self.peers, adapters=adapters)

    def require_batch(self, batch_size: int, micro_batch_size: int | None) -> None:
        """Raises a ValueError unless the devices of the axis `data` can divide a batch."""
        parts = 1 if self._sizes is None else self._sizes["data"]
        for name, rows in (("batch_size", batch_size), ("micro_batch_size", micro_batch_size)):
            if rows is not None and rows % parts:
                raise ValueError(
                    f"{name} is {rows}, which {parts} devices of the mesh's axis data cannot "
                    f"divide; give a multiple of {parts}"
                )


ALONE = Cluster(Alone())
"""One process and one device."""


@contextmanager
def joined(config: ClusterConfig) -> Iterator[Cluster]:
    """The processes and devices that a configuration names, for as long as the run takes.

    Must be entered before anything asks JAX for a device. An error ends the run on all processes,
    and the error of another process is raised here, with its number. A process that is one of
    several cannot outlive that: where its main thread waits for one that is gone, it is ended with
    exit code 2, and else a few seconds after the error.

    Args:
        config: Processes and devices.

    Yields:
        The cluster.

    Raises:
        ValueError: If the mesh does not fit the devices.
        PeerError: If another process died, hangs or failed.
    """
    peers = _peers(config) if config.joins else Alone()
    try:
        sizes = None if config.mesh is None else mesh_sizes(config.mesh)
        if sizes is None and peers.count > 1:
            sizes = dict.fromkeys(AXES, 1) | {"population": jax.device_count()}
        if sizes is not None:
            require_devices(sizes, jax.device_count())
        yield Cluster(peers, sizes)
        peers.finished()
    except BaseException as error:
        cause = peers.attributed(error)
        if cause is error:
            raise
        raise cause from error


def _peers(config: ClusterConfig) -> Alone:
    from orbax.checkpoint import multihost

    jax.distributed.initialize(
        config.coordinator,
        config.num_processes,
        config.process_id,
        # Ours are shorter, and tell more.
        heartbeat_timeout_seconds=int(4 * config.peer_timeout) + 60,
    )
    if jax.process_count() == 1:
        return Alone()
    return Peers(
        multihost.get_jax_distributed_client(),
        jax.process_index(),
        jax.process_count(),
        coordinator=_coordinator(config),
        peer_timeout=config.peer_timeout,
        step_timeout=config.step_timeout,
    )


def _coordinator(config: ClusterConfig) -> str:
    """Address of process 0, also where the cluster named it."""
    named: Any = config.coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if named is None:
        from jax._src import distributed  # no public name has what was found

        named = distributed.global_state.coordinator_address
    return named
