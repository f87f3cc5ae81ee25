"""What a checkpoint looks like to the rest of the library: named tensors, read one at a time.

Here are the protocol, safetensors, and shards as one; the other formats have files of their own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from safetensors import SafetensorError, safe_open


@runtime_checkable
class TensorSource(Protocol):
    """Named tensors that can be inspected without being read."""

    name: str
    """What to call the source in an error."""

    def names(self) -> list[str]:
        """Names of all tensors."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""

    def dtype(self, name: str) -> str:
        """Element type of one tensor, as safetensors spells it, for example `BF16`."""

    def read(self, name: str) -> np.ndarray:
        """One tensor."""


def read_part(source: TensorSource, name: str, index: tuple[slice, ...]) -> np.ndarray:
    """A part of one tensor; a source that can read nothing less reads all of it.

    Args:
      source: The checkpoint.
      name: The tensor.
      index: A slice for each of its axes.

    Returns:
      The part.
    """
    read = getattr(source, "read_part", None)
    return source.read(name)[index] if read is None else read(name, index)


class SafetensorsFile:
    """The tensors of one safetensors file; a truncated or damaged one is a ValueError."""

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
        """Element type of one tensor, for example `BF16`."""
        return self._file.get_slice(name).get_dtype()

    def read(self, name: str) -> np.ndarray:
        """One tensor."""
        return self._file.get_tensor(name)

    def read_part(self, name: str, index: tuple[slice, ...]) -> np.ndarray:
        """A part of one tensor; nothing else of it is read."""
        return self._file.get_slice(name)[index]


class JoinedShards:
    """The tensors of several files as one source, whose name is for errors.

    A tensor that two of them hold is a ValueError.
    """

    def __init__(self, name: str, shards: Sequence[TensorSource]):
        self.name = name
        self._shards: dict[str, TensorSource] = {}
        for shard in shards:
            for tensor in shard.names():
                if tensor in self._shards:
                    raise ValueError(
                        f"{name}: tensor {tensor!r} is both in {_file(self._shards[tensor])} and "
                        f"in {_file(shard)}; export the model anew"
                    )
                self._shards[tensor] = shard

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._shards)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        return self._shards[name].shape(name)

    def dtype(self, name: str) -> str:
        """Element type of one tensor, for example `BF16`."""
        return self._shards[name].dtype(name)

    def read(self, name: str) -> np.ndarray:
        """One tensor."""
        return self._shards[name].read(name)

    def read_part(self, name: str, index: tuple[slice, ...]) -> np.ndarray:
        """A part of one tensor."""
        return read_part(self._shards[name], name, index)

    def require(self, index: Path, weight_map: dict[str, str]) -> None:
        """Checks that every tensor lies where the index file's map, name -> file, says."""
        for tensor, file in weight_map.items():
            if tensor not in self._shards or _file(self._shards[tensor]) != file:
                raise ValueError(
                    f"{index} says that tensor {tensor!r} is in {file}, which has none of that "
                    "name; fetch the model again"
                )


def _file(source: TensorSource) -> str:
    return Path(source.name).name
