"""What the pickle of a ``state_dict`` may name, and what comes of each name here."""

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

CONVERT = (
    "load it where you trust it, with `torch.load(..., weights_only=True)`, and save the plain "
    "state_dict, with `safetensors.torch.save_file` or `torch.save` of a current torch"
)


class StoredTensor(NamedTuple):
    """Where one tensor's elements lie.

    Attributes:
        record: Name of the storage's record in the archive, below ``data/``.
        dtype: Element type, for example ``BF16``.
        capacity: Number of elements of the storage.
        offset: Index of the first element in the storage.
        shape: Number of elements along each axis.
        strides: Elements between neighbours along each axis.
    """

    record: str
    dtype: str
    capacity: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Global(NamedTuple):
    """A name that stands for itself; nothing is imported."""

    name: str


class Storage(NamedTuple):
    """A run of elements that tensors may share; the fields are those of ``StoredTensor``."""

    record: str
    dtype: str
    capacity: int


class OrderedEntries(dict):
    """Stands for an ``OrderedDict``, whose attributes are dropped."""


def allowed_global(name: str) -> Global:
    """Lets a name of a plain ``state_dict`` pass.

    Args:
        name: Module and name, joined by a dot.

    Returns:
        The name, which nobody looks up.

    Raises:
        ValueError: If it is any other name.

    Example:
        >>> allowed_global("os.system")
        Traceback (most recent call last):
        ...
        ValueError: the pickle names 'os.system', which is no part of a plain state_dict, so ...
    """
    if name in STORAGES or name in (REBUILD_TENSOR, REBUILD_PARAMETER, ORDERED_DICT):
        return Global(name)
    raise ValueError(
        f"the pickle names {name!r}, which is no part of a plain state_dict, so it was not run; "
        f"{CONVERT}"
    )


def called(function: Any, arguments: Any) -> OrderedEntries | StoredTensor:
    """What a call inside the pickle stands for.

    Args:
        function: Must be one of the allowed names.
        arguments: Must be the tuple that torch passes to it.

    Returns:
        An empty dictionary, or the description of a tensor.

    Raises:
        ValueError: If it is any other call.
    """
    if not isinstance(function, Global) or not isinstance(arguments, tuple):
        raise ValueError("the pickle calls something that is no function, so it was not run")
    if function.name == ORDERED_DICT and not arguments:
        return OrderedEntries()
    if function.name == REBUILD_TENSOR and len(arguments) in (6, 7):
        return _tensor(*arguments)
    if function.name == REBUILD_PARAMETER and len(arguments) == 3:
        (tensor, _, _) = arguments
        if isinstance(tensor, StoredTensor):
            return tensor
    raise ValueError(f"the pickle calls {function.name} with odd arguments, so it was not run")


def stored_elements(identity: Any) -> Storage:
    """The storage that a persistent id of the pickle stands for.

    Args:
        identity: Must be torch's ``("storage", class, record, device, number of elements)``.

    Returns:
        The storage.

    Raises:
        ValueError: If it is anything else.
    """
    if (
        not isinstance(identity, tuple)
        or len(identity) != 5
        or identity[0] != "storage"
        or not isinstance(identity[1], Global)
        or identity[1].name not in STORAGES
        or not isinstance(identity[2], str)
        or not _is_size(identity[4])
    ):
        raise ValueError("the pickle describes a storage in a way that torch.save does not")
    return Storage(identity[2], STORAGES[identity[1].name], identity[4])


def _tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    requires_grad: Any,
    hooks: Any,
    metadata: Any = None,
) -> StoredTensor:
    del requires_grad, hooks
    sizes = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides)
    if (
        not isinstance(storage, Storage)
        or not sizes
        or not all(map(_is_size, (offset, *shape, *strides)))
    ):
        raise ValueError("the pickle describes a tensor in a way that torch.save does not")
    if metadata:
        raise ValueError(f"a tensor is stored conjugated or negated; {CONVERT}")
    return StoredTensor(storage.record, storage.dtype, storage.capacity, offset, shape, strides)


def _is_size(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**62
