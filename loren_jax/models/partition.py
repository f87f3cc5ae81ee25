"""How the networks of this package are sharded over the devices of a model axis."""

from collections.abc import Callable

from jax.sharding import PartitionSpec

from loren_jax.quantised.matrix import FIELDS

COLUMNS = ("query", "key", "value", "gate", "up", "lm_head")
"""Layers of which each device has some outputs: heads, or units of the hidden layer."""

ROWS = ("output", "down")
"""Layers of which each device has the inputs that the former left it; their outputs are added."""


def tensor_parallel(axis: str, size: int) -> Callable[[str, tuple[int, ...]], PartitionSpec]:
    """Attention heads, hidden units and words of the vocabulary over one axis of a mesh.

    A layer then exchanges its outputs twice a forward pass, once behind the attention and once
    behind the MLP. Norms and positions are whole on every device, and so is what `size` does not
    divide, as is the joint kernel of GPT-2's queries, keys and values. `size` should divide the
    number of heads, and of key-value heads.

    Args:
      axis: Name of the mesh's axis.
      size: Devices along it.

    Returns:
      `(path, shape) -> PartitionSpec`, of a parameter of any family, or of a part of a packed one:
      that lies row by row of outputs, and of its inputs blocks stay whole.

    >>> spec = tensor_parallel("model", 4)
    >>> tuple(spec("layers/up/kernel", (2, 8, 32)))
    (None, None, 'model')
    >>> tuple(spec("layers/down/kernel", (2, 32, 8)))
    (None, 'model')
    >>> tuple(spec("layers/down/bias", (2, 8)))
    ()
    >>> tuple(spec("layers/up/kernel/scales", (2, 32, 1)))
    (None, 'model')
    """

    def spec(path: str, shape: tuple[int, ...]) -> PartitionSpec:
        *above, module, name = ("", "", *path.split("/"))
        packed = name in FIELDS
        if packed:
            module, name = above[-1], module
        outputs, inputs = (-2, -1) if packed else (-1, -2)
        inside = path.startswith(("layers/", "first/")) or module == "lm_head"
        place = None
        if module == "word" and name == "embedding":
            place = 0
        elif inside and module in COLUMNS:
            place = len(shape) + outputs
        elif inside and module in ROWS and name == "kernel":
            place = len(shape) + inputs
        if place is None or shape[place] % size:
            return PartitionSpec()
        return PartitionSpec(*[None] * place, axis)

    return spec
