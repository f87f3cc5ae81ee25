"""The files of adapters as PEFT names them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from loren_jax.checkpoints.directory import write_files

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def write_adapter(
    directory: Path,
    *,
    tensors: Mapping[str, np.ndarray],
    config: Mapping[str, Any],
    overwrite: bool = False,
) -> Path:
    """Writes a directory of adapters, all or nothing.

    Args:
        directory: The directory to create.
        tensors: Contiguous arrays for ``adapter_model.safetensors``.
        config: Content of ``adapter_config.json``.
        overwrite: Whether an existing directory may be replaced.

    Returns:
        The directory.

    Raises:
        FileExistsError: If the directory is in use and ``overwrite`` is false.
    """
    return write_files(
        directory,
        tensors={ADAPTER_WEIGHTS: tensors},
        parsed={ADAPTER_CONFIG: config},
        overwrite=overwrite,
    )
