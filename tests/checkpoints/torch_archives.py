"""Archives in the format of `torch.save`, made without torch, whole or wrong in one place."""

import pickle
import zipfile

import numpy as np

TEXT = {
    "F32": "FloatStorage",
    "F16": "HalfStorage",
    "BF16": "BFloat16Storage",
    "I64": "LongStorage",
}
EMPTY = b")"


def text(value):
    encoded = value.encode()
    return b"X" + len(encoded).to_bytes(4, "little") + encoded


def number(value):
    if value < 2**31:
        return b"J" + value.to_bytes(4, "little", signed=True)
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def joined(*entries):
    """A tuple."""
    return b"(" + b"".join(entries) + b"t"


def named(name):
    module, _, attribute = name.rpartition(".")
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def call(name, *arguments):
    return named(name) + joined(*arguments) + b"R"


def storage(record, size, kind="F32", *, tag="storage"):
    identity = (text(tag), named(f"torch.{TEXT[kind]}"), text(record), text("cpu"), number(size))
    return joined(*identity) + b"Q"


def tensor(stored, shape, strides, offset=0):
    sizes = [joined(*map(number, axis)) for axis in (shape, strides)]
    hooks = call("collections.OrderedDict")
    rebuild = "torch._utils._rebuild_tensor_v2"
    return call(rebuild, stored, number(offset), *sizes, b"\x89", hooks)


def pickled(entries):
    """An ordered dictionary with the attribute that torch gives it."""
    items = b"".join(text(name) + entry for name, entry in entries.items())
    attributes = b"}" + text("_metadata") + b"}s"
    dictionary = call("collections.OrderedDict") + b"(" + items + b"u" + attributes + b"b"
    return b"\x80\x02" + dictionary + b"."


def write(path, pickle_bytes, records, *, byteorder=b"little", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle_bytes)
        if byteorder is not None:
            archive.writestr("archive/byteorder", byteorder)
        for name, content in records.items():
            archive.writestr(f"archive/{name}", content)
    return path


def write_arrays(path, arrays):
    """One storage for every array, as torch does it."""
    kinds = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64"}
    entries, records = {}, {}
    for count, (name, array) in enumerate(arrays.items()):
        strides = [stride // array.itemsize for stride in np.empty_like(array, order="C").strides]
        stored = storage(str(count), array.size, kinds[array.dtype.name])
        entries[name] = tensor(stored, array.shape, strides)
        records[f"data/{count}"] = array.tobytes()
    return write(path, pickled(entries), records)


class Bomb:
    """Unpickling this with Python's own machine would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def bomb(path, protocol=2):
    return pickle.dumps({"weight": Bomb(path)}, protocol)
