"""Safetensors files, read tensor by tensor."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open


class SafetensorsFile:
    """The tensors of one safetensors file.

    Args:
        path: The file.

    Attributes:
        name: The file, for errors.

    Raises:
        ValueError: If the file is truncated or damaged.
    """

    def __init__(self, path: Path):
        self.name = str(path)
        try:
            self._file = safe_open(path, "numpy")
        except SafetensorError as error:
            raise ValueError(
                f"{path} is damaged or incomplete ({error}); delete it and fetch the model again"
            ) from error

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._file.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor, from the header alone."""
        return tuple(self._file.get_slice(name).get_shape())

    def dtype(self, name: str) -> str:
        """Element type of one tensor, for example ``BF16``."""
        return self._file.get_slice(name).get_dtype()

    def read(self, name: str) -> np.ndarray:
        """One tensor."""
        return self._file.get_tensor(name)

    def read_part(self, name: str, index: tuple[slice, ...]) -> np.ndarray:
        """A part of one tensor; nothing else of it is read."""
        return self._file.get_slice(name)[index]
