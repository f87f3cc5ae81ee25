"""The header of a GGUF file: metadata, and where each tensor lies.

Read here rather than with the `gguf` package, which takes seconds for a vocabulary of 50,000
tokens; that package is needed only to turn quantised blocks into numbers.
"""

import math
import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
# By the number of the type; the two between are texts and arrays.
_SCALARS = ("u1", "i1", "<u2", "<i2", "<u4", "<i4", "<f4", "?", None, None, "<u8", "<i8", "<f8")


class BlockTensor(NamedTuple):
    """Where one tensor lies, in bytes from the start of the file, and how it is packed.

    The kind is the packing's number, as GGUF counts them; the contiguous axis is the last.
    """

    kind: int
    shape: tuple[int, ...]
    offset: int


class GGUFHeader(NamedTuple):
    """What a GGUF file says before its tensors: numbers, texts and lists by key; places by name."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, BlockTensor]

    def get(self, key: str, default: Any = None) -> Any:
        """One entry of the metadata."""
        return self.metadata.get(key, default)

    def require(self, key: str) -> Any:
        """One entry of the metadata that must be there."""
        if key not in self.metadata:
            raise ValueError(f"{self.path}: the metadata has no {key!r}; convert the model anew")
        return self.metadata[key]


def read_gguf_header(path: Path) -> GGUFHeader:
    """Reads metadata and tensor places; damage, and an unknown version, are a `ValueError`."""
    if path.stat().st_size < len(MAGIC):
        raise ValueError(f"{path} is no GGUF file; fetch it again")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        try:
            return _parse(path, _Cursor(mapped))
        except (struct.error, UnicodeDecodeError, _DamageError) as error:
            raise ValueError(
                f"{path} is damaged or incomplete ({error}); delete it and fetch it again"
            ) from error


class _DamageError(Exception):
    """The file contradicts itself."""


class _Cursor:
    def __init__(self, mapped: mmap.mmap):
        self.mapped = mapped
        self.at = 0

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from("<" + form, self.mapped, self.at)
        self.at += struct.calcsize("<" + form)
        return value

    def bytes(self, count: int) -> bytes:
        if count > len(self.mapped) - self.at:
            raise _DamageError(f"{count} bytes are announced at {self.at}, beyond the file's end")
        self.at += count
        return self.mapped[self.at - count : self.at]

    def text(self) -> str:
        return self.bytes(self.number("Q")).decode("utf-8")


def _parse(path: Path, cursor: _Cursor) -> GGUFHeader:
    if cursor.bytes(4) != MAGIC:
        raise ValueError(f"{path} is no GGUF file; fetch it again")
    version = cursor.number("I")
    if version not in _VERSIONS:
        raise ValueError(
            f"{path} has GGUF version {version}; convert it to one of {_VERSIONS}, little-endian"
        )
    tensor_count, entry_count = cursor.number("Q"), cursor.number("Q")
    metadata = {}
    for _ in range(entry_count):
        key = cursor.text()
        metadata[key] = _value(cursor, cursor.number("I"))
    places = [_place(cursor) for _ in range(tensor_count)]
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise _DamageError(f"general.alignment is {alignment!r}")
    start = -(-cursor.at // alignment) * alignment
    tensors = {name: place._replace(offset=start + place.offset) for name, place in places}
    if len(tensors) != len(places):
        raise _DamageError("two tensors have one name")
    return GGUFHeader(path, metadata, tensors)


def _value(cursor: _Cursor, kind: int) -> Any:
    if kind == _STRING:
        return cursor.text()
    if kind == _ARRAY:
        return _array(cursor, cursor.number("I"), cursor.number("Q"))
    scalar = _numbers(cursor, kind, 1)[0]
    # The shortest decimal that is this float32: 1e-05, not 9.999999747378752e-06.
    return float(str(scalar)) if scalar.dtype == np.float32 else scalar.item()


def _array(cursor: _Cursor, kind: int, count: int) -> Any:
    if kind == _STRING:
        return [cursor.text() for _ in range(count)]
    return _numbers(cursor, kind, count)


def _numbers(cursor: _Cursor, kind: int, count: int) -> np.ndarray:
    if kind >= len(_SCALARS) or _SCALARS[kind] is None:
        raise _DamageError(f"metadata of type {kind}")
    dtype = np.dtype(_SCALARS[kind])
    return np.frombuffer(cursor.bytes(count * dtype.itemsize), dtype)


def _place(cursor: _Cursor) -> tuple[str, BlockTensor]:
    name = cursor.text()
    rank = cursor.number("I")
    if rank > 4:
        raise _DamageError(f"tensor {name!r} has {rank} axes")
    shape = tuple(cursor.number("Q") for _ in range(rank))[::-1]
    if math.prod(shape) >= 2**62:
        raise _DamageError(f"tensor {name!r} has shape {shape}")
    return name, BlockTensor(cursor.number("I"), shape, cursor.number("Q"))
