"""Files of `torch.save` (`pytorch_model.bin`), read tensor by tensor without torch.

Such a file is a zip archive: a pickle that describes the tensors, and one uncompressed record of
elements for every storage. The elements are mapped into memory, so that reading one tensor touches
its pages only, however many tensors share its storage.
"""

import math
import struct
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np

from loren_jax.checkpoints.torch_pickle import CONVERT, StoredTensor, parse_state_dict

DTYPES = {
    **{"F32": np.dtype("f4"), "F16": np.dtype("f2"), "BF16": np.dtype(ml_dtypes.bfloat16)},
    **{"F64": np.dtype("f8"), "I64": np.dtype("i8"), "I32": np.dtype("i4"), "I16": np.dtype("i2")},
    **{"I8": np.dtype("i1"), "U8": np.dtype("u1"), "BOOL": np.dtype("?")},
}
"""Element type, as safetensors spells it -> type of an array."""

ZIP_MAGIC = b"PK\x03\x04"
# The pickled magic number that old torch wrote first, and the start of what is older still.
LEGACY_MAGICS = (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", b"././@", b"storages")

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_PICKLE_LIMIT = 1 << 22


class TorchFile:
    """The tensors of one `torch.save` file.

    One that is damaged, of torch before 1.6, or holds anything but tensors is a ValueError.
    """

    def __init__(self, path: Path):
        self.name = str(path)
        self._refuse_legacy(path)
        try:
            with zipfile.ZipFile(path) as archive:
                self._records = _records(archive)
                self._little = _byte_order(archive, self._records)
                self._tensors = parse_state_dict(archive.read(self._records["data.pkl"]))
        except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, struct.error) as error:
            raise ValueError(
                f"{path} is damaged or incomplete ({error}); delete it and fetch the model again"
            ) from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        self._bytes = np.memmap(path, np.uint8, "r")
        for name, tensor in self._tensors.items():
            self._check(name, tensor)

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        return self._tensors[name].shape

    def dtype(self, name: str) -> str:
        """Element type of one tensor, for example `BF16`."""
        return self._tensors[name].dtype

    def read(self, name: str) -> np.ndarray:
        """One tensor."""
        tensor = self._tensors[name]
        dtype = DTYPES[tensor.dtype]
        start = self._start(tensor) + tensor.offset * dtype.itemsize
        count = _extent(tensor)
        flat = np.frombuffer(self._bytes, np.uint8, count * dtype.itemsize, start)
        if not self._little:
            flat = flat.reshape(count, dtype.itemsize)[:, ::-1].reshape(-1)
        strides = [stride * dtype.itemsize for stride in tensor.strides]
        view = np.lib.stride_tricks.as_strided(flat.view(dtype), tensor.shape, strides)
        return np.array(view, order="C")

    def _refuse_legacy(self, path: Path) -> None:
        with path.open("rb") as file:
            start = file.read(16)
        if start.startswith(LEGACY_MAGICS):
            raise ValueError(f"{path} has the format of torch before 1.6; {CONVERT}")
        if not start.startswith(ZIP_MAGIC):
            raise ValueError(f"{path} is no file of torch.save; fetch the model again")

    def _check(self, name: str, tensor: StoredTensor) -> None:
        """Whether the tensor lies within its storage, and the storage within the file."""
        record = self._records.get(f"data/{tensor.record}")
        itemsize = DTYPES[tensor.dtype].itemsize
        if record is None or record.file_size < tensor.capacity * itemsize:
            raise ValueError(
                f"{self.name}: the storage of tensor {name!r} is missing or too short; fetch the "
                "model again"
            )
        if tensor.offset + _extent(tensor) > tensor.capacity:
            raise ValueError(
                f"{self.name}: tensor {name!r} of shape {tensor.shape} exceeds its storage of "
                f"{tensor.capacity} elements; fetch the model again"
            )
        # A stride of zero makes a huge tensor from few elements.
        if math.prod(tensor.shape) > tensor.capacity:
            raise ValueError(
                f"{self.name}: tensor {name!r} of shape {tensor.shape} repeats its storage of "
                f"{tensor.capacity} elements; save a clone() of it"
            )
        if self._start(tensor) + record.file_size > self._bytes.size:
            raise ValueError(f"{self.name} is damaged or incomplete; fetch the model again")

    def _start(self, tensor: StoredTensor) -> int:
        """Where the storage's elements begin; the archive's directory knows but the header."""
        at = self._records[f"data/{tensor.record}"].header_offset
        header = self._bytes[at : at + _LOCAL_HEADER.size].tobytes()
        if len(header) < _LOCAL_HEADER.size or not header.startswith(ZIP_MAGIC):
            raise ValueError(f"{self.name} is damaged or incomplete; fetch the model again")
        _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        return at + _LOCAL_HEADER.size + name_length + extra_length


def _extent(tensor: StoredTensor) -> int:
    """Number of elements from the first to the last, both included."""
    if 0 in tensor.shape:
        return 0
    steps = zip(tensor.shape, tensor.strides, strict=True)
    return 1 + sum((size - 1) * stride for size, stride in steps)


def _records(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Name below the archive's own folder -> record."""
    names = archive.namelist()
    pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError(f"an archive of torch.save has one data.pkl, this one {len(pickles)}")
    folder = pickles[0].removesuffix("data.pkl")
    records = {}
    for record in archive.infolist():
        name = record.filename.removeprefix(folder)
        if name == "constants.pkl" or name.startswith("code/"):
            raise ValueError(f"the archive is a TorchScript program, not a state_dict; {CONVERT}")
        if name in records:
            raise ValueError(f"the archive has two records called {name!r}; fetch the model again")
        if record.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"the record {name!r} is compressed, which torch.save never does")
        records[name] = record
    if records["data.pkl"].file_size > _PICKLE_LIMIT:
        raise ValueError("the archive's data.pkl is too large for a description of tensors")
    return records


def _byte_order(archive: zipfile.ZipFile, records: dict[str, zipfile.ZipInfo]) -> bool:
    """Whether the elements are little-endian; old files do not say, and are."""
    if "byteorder" not in records:
        return True
    order = archive.read(records["byteorder"])
    if order not in (b"little", b"big"):
        raise ValueError(f"the archive's byte order is {order!r}, neither little nor big")
    return order == b"little"
