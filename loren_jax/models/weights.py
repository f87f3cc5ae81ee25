"""Declarative weight tables: which tensor of a checkpoint is which parameter.

A family of models lists one row per kind of tensor, `name <-> path, transform`, and this module
reads and writes by that list. The table is total in both directions: a tensor that no row claims, a
parameter that no tensor fills and a shape that differs are errors that name the tensor. What may be
left out of a model is listed too, so nothing is skipped in silence.
"""

import fnmatch
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import DTypeLike

from loren_jax.checkpoints import TensorSource, read_part
from loren_jax.models.low_bit import Storage, packed_leaf
from loren_jax.models.tensor_names import stored_names

Params = Mapping[str, Any]
"""A nested dictionary of arrays; `a/b` below means `params["a"]["b"]`."""

ShardingOf = Callable[[str, tuple[int, ...]], NamedSharding]
"""`(path, shape) -> NamedSharding` of a parameter."""

FLOAT_DTYPES = ("F32", "F16", "BF16")

ELSEWHERE = ("qa_outputs.*", "*.embeddings.token_type_ids")
"""Tensors that no network of ours has: of another task's head, or made from a shape."""

SMALL = 1 << 16
"""Numbers of a leaf that is put together on the host."""


def flatten_params(params: Params) -> dict[str, Any]:
    """Path -> leaf.

    >>> flatten_params({"pooler": {"bias": 0}})
    {'pooler/bias': 0}
    """
    return traverse_util.flatten_dict(dict(params), sep="/")


def unflatten_params(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten_params`."""
    return traverse_util.unflatten_dict(dict(flat), sep="/")


class WeightRow(NamedTuple):
    """One line of a weight table.

    Attributes:
      name: The tensor's name in a checkpoint; `{layer}` stands for the layer's number, and the
        parameter is then the stack of all layers' tensors.
      path: The parameter's path, joined by `/`.
      transposed: Whether the checkpoint keeps the matrix as (fan_out, fan_in).
      first: Number of the first layer of the stack.
    """

    name: str
    path: str
    transposed: bool = False
    first: int = 0

    @classmethod
    def linear(
        cls, name: str, path: str, *, bias: bool = True, transposed: bool = True
    ) -> list["WeightRow"]:
        """The one or two rows of a dense layer, by default those of a torch `Linear`."""
        kernel = cls(f"{name}.weight", f"{path}/kernel", transposed=transposed)
        return [kernel, cls(f"{name}.bias", f"{path}/bias")] if bias else [kernel]

    @classmethod
    def norm(cls, name: str, path: str, *, bias: bool = True) -> list["WeightRow"]:
        """The one or two rows of a torch `LayerNorm`."""
        scale = cls(f"{name}.weight", f"{path}/scale")
        return [scale, cls(f"{name}.bias", f"{path}/bias")] if bias else [scale]

    @property
    def stacked(self) -> bool:
        """Whether the parameter's first axis counts the layers."""
        return "{layer}" in self.name

    def tensor_names(self, shape: tuple[int, ...]) -> list[str]:
        """Names of the tensors that make up a parameter of this shape.

        >>> WeightRow("layer.{layer}.weight", "layers/kernel").tensor_names((2, 4, 4))
        ['layer.0.weight', 'layer.1.weight']
        """
        if not self.stacked:
            return [self.name]
        layers = range(self.first, self.first + shape[0])
        return [self.name.format(layer=layer) for layer in layers]

    @property
    def first_name(self) -> str:
        """Name of the first of these tensors."""
        return self.name.format(layer=self.first)

    def tensor_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of each of those tensors in the checkpoint."""
        shape = shape[1:] if self.stacked else shape
        return shape[::-1] if self.transposed else shape


class WeightTable(NamedTuple):
    """All tensors of a model.

    Attributes:
      rows: One row per parameter.
      prefix: What the encoder's or decoder's names begin with, and a checkpoint of it alone
        omits.
      head: First part of the paths of the classification head, or nothing. A checkpoint may be
        without all of it; the head is then drawn anew. The last of its rows has the labels
        along the tensor's first axis.
      pooler: First part of the paths of what stands between encoder and head; a checkpoint
        without head may be without it too.
      ignored: Patterns of tensors that may be in a checkpoint and are not wanted.
      foreign: Patterns of tensors that are another task's, though a row may have their name.
      tied: Pairs (twin, name) of tensors that are one: where only the twin is stored, it is read.
      renamed: Pairs (old, new) of outdated endings of names; by default those of checkpoints that
        were converted from TensorFlow, which called the parts of a layer norm otherwise.
    """

    rows: tuple[WeightRow, ...]
    prefix: str
    head: str = ""
    pooler: str = ""
    ignored: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    tied: tuple[tuple[str, str], ...] = ()
    renamed: tuple[tuple[str, str], ...] = (
        (".LayerNorm.gamma", ".LayerNorm.weight"),
        (".LayerNorm.beta", ".LayerNorm.bias"),
    )

    def tensor_rows(self, abstract: Params) -> dict[str, tuple[WeightRow, tuple[int, ...]]]:
        """Every tensor of a complete checkpoint: its row, and the shape that it must have there.

        Rows and parameters that do not cover each other are a `ValueError`.
        """
        shapes = {path: leaf.shape for path, leaf in flatten_params(abstract).items()}
        if odd := shapes.keys() ^ {row.path for row in self.rows}:
            raise ValueError(f"weight table and model disagree about the parameters {sorted(odd)}")
        return {
            name: (row, row.tensor_shape(shapes[row.path]))
            for row in self.rows
            for name in row.tensor_names(shapes[row.path])
        }

    def is_foreign(self, name: str) -> bool:
        """Whether a tensor of this name is another task's."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.foreign)

    def is_ignored(self, name: str) -> bool:
        """Whether a tensor of this name is not wanted."""
        return any(
            fnmatch.fnmatchcase(name, pattern)
            for pattern in (*self.ignored, *self.foreign, *ELSEWHERE)
        )

    def canonical_name(self, name: str, *, prefixed: bool) -> str:
        """A tensor's name as the rows spell it.

        >>> table = WeightTable((WeightRow("classifier.bias", "head/bias"),), prefix="bert.")
        >>> table.canonical_name("pooler.dense.bias", prefixed=False)
        'bert.pooler.dense.bias'
        >>> table.canonical_name("classifier.bias", prefixed=False)
        'classifier.bias'
        """
        for old, new in self.renamed:
            if name.endswith(old):
                name = name.removesuffix(old) + new
        whole = prefixed or any(row.name == name for row in self.rows) or self.is_ignored(name)
        return name if whole else self.prefix + name

    def names_below(self, part: str) -> list[str]:
        """Names of the tensors of a head or a pooler, which are in no stack."""
        return [row.name for row in self.rows if part and row.path.startswith(f"{part}/")]


def head_names(table: WeightTable) -> list[str]:
    """Names of the head's tensors; the first axis of the last one counts the labels."""
    return table.names_below(table.head)


def match_tensors(source: TensorSource, table: WeightTable, abstract: Params) -> dict[str, str]:
    """Pairs every tensor of the model with the one in the checkpoint, reading none.

    Canonical name -> name in the checkpoint; the head's are absent if it has no head. A tensor that
    is unmapped, missing, of the wrong shape or not of a float type is a ValueError.
    """
    found = stored_names(source, table)
    expected = table.tensor_rows(abstract)
    _check_names(source.name, set(found), set(expected), table)
    matched = {canonical: found[canonical] for canonical in expected if canonical in found}
    for canonical, name in matched.items():
        shape, wanted = tuple(source.shape(name)), expected[canonical][1]
        if shape != wanted:
            raise ValueError(
                f"{source.name}: tensor {name!r} has shape {shape}, the model needs {wanted}; "
                "compare the sizes in config.json"
            )
        if source.dtype(name) not in FLOAT_DTYPES:
            raise ValueError(
                f"{source.name}: tensor {name!r} has type {source.dtype(name)}, as in a quantised "
                f"model; take the model in one of {FLOAT_DTYPES}"
            )
    return matched


def _check_names(source: str, found: set[str], expected: set[str], table: WeightTable) -> None:
    optional = set(head_names(table)) if not found & set(head_names(table)) else set()
    pooler = set(table.names_below(table.pooler))
    if optional and not found & pooler:
        optional |= pooler
    if missing := sorted(expected - found - optional):
        raise ValueError(
            f"{source}: {len(missing)} tensors are missing, the first is {missing[0]!r}; "
            f"{_remedy(missing, table)}"
        )
    unmapped = sorted(name for name in found - expected if not table.is_ignored(name))
    if unmapped:
        raise ValueError(
            f"{source}: the model has no place for {len(unmapped)} tensors, the first is "
            f"{unmapped[0]!r}; check the model type and num_hidden_layers in config.json"
        )


def _remedy(missing: list[str], table: WeightTable) -> str:
    if set(missing) <= set(table.names_below(table.pooler)):
        return "it is the pooler: pass another pooling=, or fetch the model again"
    if set(missing) <= set(table.names_below("lm_head")):
        return (
            'it is the output layer: set "tie_word_embeddings": true in config.json if it is the '
            "word embedding, or fetch the model again"
        )
    return "check num_hidden_layers in config.json, or fetch the model again"


def read_params(
    source: TensorSource,
    table: WeightTable,
    abstract: Params,
    *,
    dtype: DTypeLike,
    head_key: int | jax.Array = 0,
    sharding: ShardingOf | None = None,
    storage: Storage | None = None,
) -> dict[str, Any]:
    """Fills the parameters from a checkpoint, one tensor at a time.

    Each tensor goes to the device as it lies in the checkpoint, and is there cast, transposed and
    written into its leaf; those of small leaves are put together on the host, as a program for each
    shape would take longer to compile. The host holds the tensor that is being read and at most the
    one before; the device the parameters and one tensor. With a sharding that holds for each
    device's part, and of a safetensors file a process reads only what its own devices take: no host
    and no device ever has the whole model.

    `abstract` are the parameters' shapes, nested as the result will be; `head_key` is the seed or
    key of a new head, used if the checkpoint has none; `storage` says which matrices stay in few
    bits.
    """
    matched = match_tensors(source, table, abstract)
    shapes = {path: leaf.shape for path, leaf in flatten_params(abstract).items()}
    flat: dict[str, Any] = {}
    rngs = nnx.Rngs(head_key)
    for row in reversed(table.rows):  # heads first: an absent pooler does not change the head
        shape = shapes[row.path]
        names = row.tensor_names(shape)
        place = None if sharding is None else sharding(row.path, shape)
        if names[0] not in matched:
            leaf = new_head_leaf(row.path, shape, dtype=dtype, rngs=rngs)
            flat[row.path] = leaf if place is None else jax.device_put(leaf, place)
            continue
        own = [matched[name] for name in names]
        head = bool(table.head) and row.path.startswith(f"{table.head}/")
        if storage is not None and not head and storage.packs(row.path, shape):
            facts = {"path": row.path, "stacked": row.stacked, "transposed": row.transposed}
            kept = packed_leaf(source, own, storage, **facts, dtype=dtype, sharding=sharding)
            if kept is not None:
                flat[row.path] = kept
                continue
        if place is None and math.prod(shape) <= SMALL:
            flat[row.path] = _assemble(source, own, row, shape, dtype)
            continue
        leaf = jnp.zeros(shape, dtype, device=place)
        for layer, name in enumerate(names):
            tensor = _tensor(source, matched[name], row, place)
            leaf = _place(leaf, tensor, layer, row.stacked, row.transposed)
            # Else a device that lags behind would let tensors pile up on the host.
            leaf.block_until_ready()
        flat[row.path] = leaf
    return unflatten_params({row.path: flat[row.path] for row in table.rows})


def _assemble(
    source: TensorSource, names: list[str], row: WeightRow, shape: tuple[int, ...], dtype: DTypeLike
) -> jax.Array:
    """A leaf that is put together on the host, for one device."""
    leaf = np.empty(shape, dtype)
    for layer, name in enumerate(names):
        tensor = source.read(name)
        leaf[layer if row.stacked else ...] = tensor.T if row.transposed else tensor
    return jnp.array(leaf)


def _tensor(
    source: TensorSource, name: str, row: WeightRow, place: NamedSharding | None
) -> np.ndarray | jax.Array:
    """One tensor as it lies in the checkpoint; sharded, as the leaf will be that it belongs to."""
    if place is None:
        return source.read(name)
    shape = tuple(source.shape(name))
    axes = [*place.spec, *[None] * (len(shape) + row.stacked - len(place.spec))][row.stacked :]
    spec = PartitionSpec(*(reversed(axes) if row.transposed else axes))
    # Devices that hold the same part share one reading of it.
    parts: dict[str, np.ndarray] = {}

    def read(index: tuple[slice, ...] | None) -> np.ndarray:
        key = str(index)
        if key not in parts:
            parts[key] = read_part(source, name, index or ())
        return parts[key]

    return jax.make_array_from_callback(shape, NamedSharding(place.mesh, spec), read)


@functools.partial(jax.jit, donate_argnums=0, static_argnums=(3, 4))
def _place(
    leaf: jax.Array, tensor: jax.Array, layer: int | jax.Array, stacked: bool, transposed: bool
) -> jax.Array:
    """Writes one tensor into its leaf, in the leaf's own memory."""
    part = (tensor.T if transposed else tensor).astype(leaf.dtype)
    if not stacked:
        return jax.lax.dynamic_update_slice(leaf, part, (0,) * leaf.ndim)
    return jax.lax.dynamic_update_index_in_dim(leaf, part, layer, axis=0)


def new_head_leaf(
    path: str, shape: tuple[int, ...], *, dtype: DTypeLike, rngs: nnx.Rngs
) -> jax.Array:
    """A fresh parameter of the head: kernels N(0, 0.02^2), biases zero, scales of norms one.

    Drawn in float32 and cast last, so that every dtype starts from the same head.

    >>> new_head_leaf("head/bias", (2,), dtype="float32", rngs=nnx.Rngs(0)).tolist()
    [0.0, 0.0]
    """
    if path.endswith("/bias"):
        return jnp.zeros(shape, dtype)
    if path.endswith("/scale"):
        return jnp.ones(shape, dtype)
    draw = nnx.initializers.normal(0.02)
    return draw(rngs.params(), shape, jnp.float32).astype(dtype)


def tensors_of(params: Params, table: WeightTable) -> dict[str, np.ndarray]:
    """The checkpoint's tensors for some parameters, the inverse of `read_params`.

    Canonical name -> contiguous array in the parameter's dtype.
    """
    table.tensor_rows(params)
    flat = {path: np.asarray(leaf) for path, leaf in flatten_params(params).items()}
    tensors = {}
    for row in table.rows:
        stack = flat[row.path] if row.stacked else flat[row.path][None]
        for name, tensor in zip(row.tensor_names(flat[row.path].shape), stack, strict=True):
            # The writer takes the memory as it lies: a transposed view would lose its transpose.
            tensors[name] = np.ascontiguousarray(tensor.T if row.transposed else tensor)
    return tensors
