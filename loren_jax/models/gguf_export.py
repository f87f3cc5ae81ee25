"""What was trained of a GGUF model, as a GGUF: its own file, with other scales and vectors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from loren_jax.checkpoints.gguf import GGUFFile
from loren_jax.checkpoints.gguf.rewriting import rewrite_gguf
from loren_jax.models.families import family_of
from loren_jax.models.network import NetworkConfig
from loren_jax.models.tensor_names import stored_names
from loren_jax.models.weights import WeightRow, flatten_params
from loren_jax.quantised import Quantised

PLAIN = ("F32", "F16")


def export_gguf(
    path: str | Path, source: str | Path, config: NetworkConfig, params: Mapping[str, Any]
) -> Path:
    """Writes the GGUF that a model was read from with what has changed of it since.

    Scales are rounded to the half precision that the file has for them.

    Args:
      path: The file to write.
      source: The GGUF that the parameters were read from, with their matrices kept as they are.
      config: The model's configuration.
      params: Its parameters, a nested dictionary of arrays and quantised matrices.

    Returns:
      The file that was written.

    Raises:
      ValueError: If a matrix has changed as floats that the file has packed, a head is not in the
        file, or the file is another model's.
    """
    file, path = GGUFFile(Path(source)), Path(path)
    table, flat = family_of(config).weight_table(config), flatten_params(params)
    found = stored_names(file, table)
    changed: dict[str, np.ndarray] = {}
    for row in table.rows:
        leaf = flat[row.path]
        for layer, canonical in enumerate(row.tensor_names(leaf.shape)):
            if canonical not in found:
                raise ValueError(
                    f"{source} has no tensor {canonical!r}, so that no GGUF can hold what was "
                    "trained; take the Hugging Face directory of the run"
                )
            name = found[canonical]
            values = _values(file, name, row, leaf, layer)
            if values is not None:
                changed[name] = values
    rewrite_gguf(file, path, changed)
    return path


def _values(file: GGUFFile, name: str, row: WeightRow, leaf: Any, layer: int) -> np.ndarray | None:
    """What is to be written of one tensor; None where it is as it was."""
    at = layer if row.stacked else ...
    packing = file.packing(name)
    if isinstance(leaf, Quantised):
        return None if leaf.scales is None else np.asarray(leaf.scales[at], np.float32)
    own = np.asarray(leaf[at], np.float32)
    own, stored = (own.T if row.transposed else own), file.read(name).astype(np.float32)
    if np.array_equal(own, stored):
        return None
    if packing in PLAIN:
        return own
    raise ValueError(
        f"{file.name}: tensor {name!r} is packed as {packing}, but was trained as floats; take the "
        "Hugging Face directory of the run"
    )
