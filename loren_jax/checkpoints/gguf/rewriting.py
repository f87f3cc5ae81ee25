"""A GGUF file with other numbers in some of its tensors; everything else is copied."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from loren_jax.checkpoints.gguf.tensors import PLAIN, GGUFFile, neighbours
from loren_jax.quantised.forms import FORMS

_PLAIN = dict(PLAIN.values())


def rewrite_gguf(source: GGUFFile, path: Path, changed: Mapping[str, np.ndarray]) -> None:
    """Writes a copy of a file, all or nothing.

    Args:
      source: The file.
      path: The file to write, which is replaced if it is there.
      changed: Tensors by Hugging Face's names: of a plain one its numbers, in Hugging Face's
        layout; of a packed one the scales of its blocks, `(rows, blocks)`, which are rounded
        to half precision.

    Raises:
      ValueError: If a tensor has another shape than the file's.
    """
    part = path.with_name(f"{path.name}.part")
    shutil.copyfile(source.name, part)
    with part.open("r+b") as file:
        for name, values in changed.items():
            start, shape = source.place(name)
            made = _bytes(source, name, np.asarray(values))
            if made.size != int(np.prod(shape)):
                raise ValueError(
                    f"{path}: tensor {name!r} would have {made.size} bytes, but {source.name} has "
                    f"{int(np.prod(shape))}; give the parameters of this very file"
                )
            file.seek(start)
            file.write(made.tobytes())
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _bytes(source: GGUFFile, name: str, values: np.ndarray) -> np.ndarray:
    """The bytes of one tensor as the file is to have them, in order."""
    packing, heads = source.packing(name), source.turned_heads(name)
    if packing in _PLAIN:
        rows = (values + np.float32(source.norm_excess(name))).astype(_PLAIN[packing])
    else:
        rows = FORMS[packing].with_scales(source.blocks(name), values)
    rows = rows if heads is None else neighbours(rows, heads)
    return np.ascontiguousarray(rows).reshape(-1).view(np.uint8)
