"""The pickle inside a `torch.save` file, read as data.

A pickle is a program that may call whatever it names. Python's own machine runs it here, with
three restrictions. It may have only the instructions that a saved `state_dict` needs. Its names
are looked up in a list of a few, which stand for themselves: nothing is imported, and calling one
describes a tensor. And its dictionaries take names alone. So a checkpoint that carries code is
refused, not run.
"""

import io
import pickle
import pickletools
from collections.abc import Iterator
from typing import Any, NamedTuple

STORAGES = {
    "torch.FloatStorage": "F32",
    "torch.HalfStorage": "F16",
    "torch.BFloat16Storage": "BF16",
    "torch.DoubleStorage": "F64",
    "torch.LongStorage": "I64",
    "torch.IntStorage": "I32",
    "torch.ShortStorage": "I16",
    "torch.CharStorage": "I8",
    "torch.ByteStorage": "U8",
    "torch.BoolStorage": "BOOL",
}
"""Storage class -> element type, as safetensors spells it."""

REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2"
REBUILD_PARAMETER = "torch._utils._rebuild_parameter"
ORDERED_DICT = "collections.OrderedDict"
NAMES = (*STORAGES, REBUILD_TENSOR, REBUILD_PARAMETER, ORDERED_DICT)

CONVERT = (
    "load it where you trust it, with `torch.load(..., weights_only=True)`, and save the plain "
    "state_dict, with `safetensors.torch.save_file` or `torch.save` of a current torch"
)

# Without the registry of extensions (EXT1), which no unpickler asks us about, without what makes
# objects (INST, OBJ, NEWOBJ), and without what announces more bytes than the program has.
_NEEDED = """
PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE
SHORT_BINUNICODE EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT SETITEM SETITEMS BINGET
LONG_BINGET BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID
"""
_INSTRUCTIONS = frozenset(_NEEDED.split())
_MISTAKES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_FRAME_SIZE = 9
_MAKE_ENTRIES = b"c%b\n%b\n)R" % tuple(ORDERED_DICT.encode().split(b"."))


class StoredTensor(NamedTuple):
    """Where one tensor's elements lie: in the archive's `data/{record}`, of so many elements.

    The offset is the index of the first there, the strides are elements between neighbours along
    each axis, and the type is for example `BF16`.
    """

    record: str
    dtype: str
    capacity: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def parse_state_dict(pickled: bytes) -> dict[str, StoredTensor]:
    """Name -> description of each tensor of the pickle of a `state_dict`.

    It is not yet checked against the storages' sizes. A pickle that names anything else than
    tensors, is damaged, or holds no dictionary of tensors is a ValueError.
    """
    try:
        parsed = _Unpickler(io.BytesIO(_harmless(pickled))).load()
    except _RefusedError:
        raise
    except (pickle.UnpicklingError, EOFError, *_MISTAKES) as error:
        raise ValueError(f"the pickle is damaged ({type(error).__name__}: {error})") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"the pickle holds no state_dict; {CONVERT}")
    for name, entry in parsed.items():
        if not isinstance(entry, StoredTensor):
            raise ValueError(f"the entry {name!r} is no tensor; {CONVERT}")
    return dict(parsed)


def _harmless(pickled: bytes) -> bytes:
    """The program, looked through before it runs, with dictionaries that look at their names."""
    program, kept = bytearray(), 0
    operations: Iterator[tuple[Any, Any, Any]] = pickletools.genops(pickled)
    for operation, argument, place in operations:
        name = operation.name
        if name not in _INSTRUCTIONS:
            raise _refusal(f"has the instruction {name}")
        # The machine makes room for as many memos as the largest number asks for.
        if name == "LONG_BINPUT" and argument > place:
            raise ValueError(f"a memo has the number {argument}")
        if name in ("EMPTY_DICT", "FRAME"):
            program += pickled[kept:place]
            program += _MAKE_ENTRIES if name == "EMPTY_DICT" else b""
            kept = place + (1 if name == "EMPTY_DICT" else _FRAME_SIZE)
    return bytes(program) + pickled[kept:]


class _RefusedError(ValueError):
    """The pickle asks for what no state_dict needs."""


def _refusal(what: str) -> _RefusedError:
    return _RefusedError(
        f"the pickle {what}, which no plain state_dict needs, so it was not run; {CONVERT}"
    )


class _Unpickler(pickle.Unpickler):
    """Python's own, without a way to import, and with storages described."""

    def find_class(self, module: str, name: str) -> "_Name":
        full = f"{module}.{name}"
        if full not in NAMES:
            raise _refusal(f"names {full!r}")
        return _Name(full)

    def persistent_load(self, identity: object) -> "_Storage":
        match identity:
            case ("storage", _Name(name=kind), str(record), _, size):
                if kind in STORAGES and _is_size(size):
                    return _Storage(record, STORAGES[kind], size)
        raise _RefusedError("the pickle describes a storage in a way that torch.save does not")


class _Storage(NamedTuple):
    """A run of elements that tensors may share; the fields are those of `StoredTensor`."""

    record: str
    dtype: str
    capacity: int


class _Entries(dict):
    """Stands for any dictionary, ordered as all are; the attributes that torch adds are dropped."""

    def __setitem__(self, name: object, entry: object) -> None:
        # Only text: hashing a nested tuple can take exponential time.
        if not isinstance(name, str):
            raise _RefusedError(f"the pickle has a key that is a {type(name).__name__}, no name")
        if name in self:
            raise _RefusedError(f"the pickle has two entries called {name!r}; export it anew")
        super().__setitem__(name, entry)

    def __setstate__(self, state: object) -> None:
        del state


class _Name:
    """A name that stands for itself; a call describes what torch's own would build."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __setstate__(self, state: object) -> None:
        raise _refusal(f"sets attributes of {self.name}")

    def __call__(self, *arguments: object) -> _Entries | StoredTensor:
        if self.name == ORDERED_DICT and not arguments:
            return _Entries()
        if self.name == REBUILD_TENSOR and len(arguments) in (6, 7):
            return _tensor(*arguments)
        match arguments:
            case (StoredTensor() as tensor, _, _) if self.name == REBUILD_PARAMETER:
                return tensor
        raise _refusal(f"calls {self.name} with odd arguments")


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, metadata: Any = ()
) -> StoredTensor:
    sizes = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides)
    whole = sizes and all(map(_is_size, (offset, *shape, *strides)))
    if not isinstance(storage, _Storage) or not whole:
        raise _RefusedError("the pickle describes a tensor in a way that torch.save does not")
    if metadata:
        raise _RefusedError(f"a tensor is stored conjugated or negated; {CONVERT}")
    return StoredTensor(*storage, offset, shape, strides)


def _is_size(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**62
