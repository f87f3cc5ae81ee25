"""Where a run took place: versions and device, without which its numbers cannot be repeated."""

import os
import platform
import sys
from importlib import metadata
from typing import Any

import jax

_PACKAGES = ("loren-jax", "jax", "jaxlib", "optax", "flax", "numpy", "transformers")


def environment() -> dict[str, Any]:
    """Versions and device of this process, as JSON values.

    >>> sorted(environment())
    ['device', 'devices', 'processors', 'system', 'versions']
    """
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "unknown"
    return {
        "versions": versions,
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "processors": os.cpu_count(),
        "system": platform.platform(),
    }


def peak_resident_bytes() -> int | None:
    """The most memory that this process has had, or None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def peak_device_bytes() -> int | None:
    """The most memory of the device, or None where it does not tell, as on CPU."""
    statistics = jax.local_devices()[0].memory_stats()
    return statistics.get("peak_bytes_in_use") if statistics else None
