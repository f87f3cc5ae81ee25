"""The journal's file: a header, then one short record for each step, appended and flushed.

All numbers are little-endian. A file has, in this order:

====================  =========  ==========================================================
field                 bytes      content
====================  =========  ==========================================================
magic                 8          `LORENJNL`
version               2          1, or 2 where losses are float64
length of the header  4          h
header                h          a JSON object in UTF-8; `losses` in it is `[K, S]`
checksum              4          CRC-32 of all bytes before it
====================  =========  ==========================================================

and then for each step

====================  =========  ==========================================================
step                  4          its number, from 0, without a gap
losses                4 K S      float32, row by row: one row a direction, one column a point;
                                 in version 2 float64, of 8 bytes each
checksum              4          CRC-32 of the two fields, begun with the checksum before it
====================  =========  ==========================================================

As each checksum continues the one before it, a record that was changed, moved or written by
another run is found, not only one that is torn; of the last one nobody can tell which it is.
"""

import json
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float, UInt32

MAGIC = b"LORENJNL"
VERSION = 1
"""Of all journals but those of float64 losses, so that older versions read what they can read."""

VERSION_OF = {"float32": VERSION, "float64": 2}
_PREFIX = struct.Struct("<8sHI")
_WORD = struct.Struct("<I")


class JournalError(ValueError):
    """A journal that cannot be read, or does not belong to what it is used with."""


class Journal(NamedTuple):
    """What a journal's file holds.

    Attributes:
      path: the file.
      header: its header.
      losses: those of every whole record, `(steps, K, S)`.
      checksums: the header's, and each record's: what the next record continues.
      start: where the first record begins, in bytes.
      leftover: bytes behind the last whole record: a torn record, or damage.
    """

    path: Path
    header: Mapping[str, Any]
    losses: Float[np.ndarray, "steps K S"]
    checksums: UInt32[np.ndarray, "steps_and_one"]
    start: int
    leftover: int

    @property
    def steps(self) -> int:
        """How many whole records there are."""
        return len(self.losses)

    @property
    def record_size(self) -> int:
        """Bytes of one record."""
        return record_size(self.losses.shape[1:], self.losses.dtype)

    @property
    def end(self) -> int:
        """Where the last whole record ends, in bytes."""
        return self.start + self.steps * self.record_size

    def shorten(self, steps: int) -> "Journal":
        """The journal as it was after so many steps; the other records count as left over.

        Raises:
          JournalError: it has fewer than that.
        """
        if not 0 <= steps <= self.steps:
            raise JournalError(f"{self.path} has {self.steps} whole steps, not {steps}")
        kept = self._replace(losses=self.losses[:steps], checksums=self.checksums[: steps + 1])
        return kept._replace(leftover=self.end + self.leftover - kept.end)

    @property
    def damaged(self) -> bool:
        """Whether more than one torn record lies behind the last whole one."""
        return self.leftover > self.record_size


def record_size(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> int:
    """Bytes of a record with losses of this shape and type.

    >>> record_size((6, 1))
    32
    """
    return 2 * _WORD.size + np.dtype(dtype).itemsize * int(np.prod(shape))


def encode_header(header: Mapping[str, Any]) -> bytes:
    """The file's beginning, checksum included.

    >>> encode_header({"losses": [1, 1]})[:8]
    b'LORENJNL'
    """
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    version = VERSION_OF[header.get("losses_dtype", "float32")]
    start = _PREFIX.pack(MAGIC, version, len(text)) + text
    return start + _WORD.pack(zlib.crc32(start))


def encode_record(step: int, losses: np.ndarray, checksum: int) -> bytes:
    """One record, float32 or float64; `checksum` is the last of the file so far."""
    ordered = np.ascontiguousarray(losses, losses.dtype.newbyteorder("<"))
    fields = _WORD.pack(step) + ordered.tobytes()
    return fields + _WORD.pack(zlib.crc32(fields, checksum))


def read(path: str | os.PathLike) -> Journal:
    """Reads a journal's file, up to its last whole record.

    That a run was killed while it appended is no error: the torn record counts as `leftover`.

    Args:
      path: the file.

    Returns:
      What it holds.

    Raises:
      FileNotFoundError: there is no such file.
      JournalError: it is no journal, of another version, or its header is damaged.
    """
    path = Path(path)
    data = path.read_bytes()
    header, end = _decode_header(path, data)
    shape = _losses_shape(path, header)
    dtype = np.dtype(header.get("losses_dtype", "float32")).newbyteorder("<")
    size, start = record_size(shape, dtype), end
    checksums, records = [_WORD.unpack_from(data, end - _WORD.size)[0]], []
    while end + size <= len(data):
        fields = data[end : end + size - _WORD.size]
        found = _WORD.unpack_from(fields)[0], _WORD.unpack_from(data, end + len(fields))[0]
        checksum = zlib.crc32(fields, checksums[-1])
        if found != (len(records), checksum):
            break
        records.append(np.frombuffer(fields, dtype, offset=_WORD.size).reshape(shape))
        checksums.append(checksum)
        end += size
    losses = np.asarray(records, dtype.newbyteorder("=")).reshape(-1, *shape)
    return Journal(path, header, losses, np.array(checksums, np.uint32), start, len(data) - end)


def _decode_header(path: Path, data: bytes) -> tuple[dict[str, Any], int]:
    if data[: len(MAGIC)] != MAGIC[: len(data)] or not data:
        raise JournalError(f"{path} is no journal: it does not begin with {MAGIC.decode()}")
    if len(data) < _PREFIX.size:
        raise JournalError(f"{path} ends inside its header: no step was recorded; delete it")
    _, version, length = _PREFIX.unpack_from(data)
    if version not in VERSION_OF.values():
        raise JournalError(
            f"{path} has version {version} of the format, or a damaged header; this library reads "
            f"the versions {', '.join(map(str, VERSION_OF.values()))}"
        )
    end = _PREFIX.size + length
    if len(data) < end + _WORD.size:
        raise JournalError(
            f"{path} ends inside its header, or the header is damaged: it announces {length} bytes"
        )
    if zlib.crc32(data[:end]) != _WORD.unpack_from(data, end)[0]:
        raise JournalError(f"{path}: the header is damaged (wrong checksum); use a copy")
    return json.loads(data[_PREFIX.size : end]), end + _WORD.size


def _losses_shape(path: Path, header: Mapping[str, Any]) -> tuple[int, int]:
    shape = header.get("losses")
    whole = isinstance(shape, list) and all(isinstance(n, int) and n > 0 for n in shape)
    if not whole or len(shape) != 2:
        raise JournalError(f"{path}: the header's losses must be [K, S], not {shape}")
    return shape[0], shape[1]
