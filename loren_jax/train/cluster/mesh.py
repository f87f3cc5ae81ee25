"""Where the arrays of a run lie, over the mesh of all its processes' devices."""

import json
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import Int

from loren_jax import noise
from loren_jax.evaluation._sharded import sharded
from loren_jax.models import tensor_parallel
from loren_jax.tasks import Tokens
from loren_jax.train.cluster.alone import Alone
from loren_jax.train.cluster.devices import OneDevice
from loren_jax.train.cluster.options import AXES, mesh_text
from loren_jax.types import PyTree


class MeshDevices(OneDevice):
    """A mesh with the axes `population`, `data` and `model`, of automatic axis types.

    Args:
        sizes: Devices along each axis.
        peers: The processes of the run.
        adapters: Whether adapters are trained, which are whole on every device.
    """

    def __init__(self, sizes: Mapping[str, int], peers: Alone, *, adapters: bool = False):
        super().__init__()
        self.peers, self._sizes = peers, dict(sizes)
        kinds = (AxisType.Auto,) * len(AXES)
        self.mesh = jax.make_mesh(tuple(sizes[name] for name in AXES), AXES, axis_types=kinds)
        rule = tensor_parallel("model", sizes["model"])
        self.sharding = lambda path, shape: NamedSharding(self.mesh, rule(path, shape))
        divided = rule if sizes["model"] > 1 and not adapters else None
        self._evaluation = sharded(self.mesh, population="population", data="data", weights=divided)
        self.evaluation = self._evaluation
        self.text = mesh_text(dict(sizes))
        self.evaluation_rows = math.prod(sizes[name] for name in ("population", "data"))
        self.data_parts = sizes["data"]

    def place(self, tree: PyTree) -> PyTree:
        """What is trained, on the mesh."""
        return self._evaluation.place(tree)

    def start(self, optimizer: optax.GradientTransformation, params: PyTree) -> PyTree:
        """The optimiser's first state, on the mesh."""
        return self._evaluation.start(optimizer, params)

    def rows(self, batch: Tokens, *, scored: bool = False) -> Tokens:
        """A batch over the mesh; each process sends its own devices their rows."""
        axes = ("population", "data") if scored else ("data",)
        return self._spread(batch, PartitionSpec(axes))

    def all_rows(self, tokens: Tokens) -> Tokens:
        """All examples at once, over `data` where it divides their number."""
        divided = len(tokens.labels) % self.data_parts == 0
        return self._spread(tokens, PartitionSpec("data" if divided else None))

    def everywhere(self, tree: PyTree) -> PyTree:
        """Inside of a compiled function: values that each process can read."""
        return self._evaluation.everywhere(tree)

    def read(self, leaf: ArrayLike) -> np.ndarray:
        """An array on the host, whole; one that several processes share is gathered."""
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
            return np.asarray(leaf)
        if leaf.is_fully_replicated:
            return np.asarray(leaf.addressable_data(0))
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))

    def on_host(self, tree: PyTree) -> PyTree:
        """A tree of host arrays on process 0; the others help to gather and keep nothing."""

        def read(leaf: jax.Array) -> Any:
            whole = self.read(noise.words(leaf) if _is_key(leaf) else leaf)
            if not self.peers.first:
                return None
            return noise.from_words(jnp.asarray(whole)) if _is_key(leaf) else whole

        return jax.tree.map(read, tree)

    def sent(self, tree: PyTree | None, template: PyTree) -> PyTree:
        """A tree that process 0 has read, sent leaf by leaf and placed like the template."""
        given = [None] * len(jax.tree.leaves(template)) if tree is None else jax.tree.leaves(tree)
        leaves, structure = jax.tree.flatten(template)
        return structure.unflatten(map(self._sent, given, leaves))

    def told(self, array: np.ndarray | None) -> np.ndarray:
        """An array that process 0 has, on all processes."""
        if self.peers.count == 1:
            return super().told(array)
        describe = lambda array: f"{array.dtype.name}{list(array.shape)}"
        text = self.peers.share(lambda: describe(array))
        kind, _, sizes = text.partition("[")
        shape = json.loads(f"[{sizes}")
        if not math.prod(shape):
            return np.zeros(shape, kind)
        own = np.zeros(shape, kind) if array is None else array
        return np.asarray(multihost_utils.broadcast_one_to_all(own))

    def loss_groups(self, shape: tuple[int, ...]) -> Int[np.ndarray, "K S"] | None:
        """Which group of devices evaluates each loss; None where directions are split up."""
        directions, groups = shape[0], self._sizes["population"]
        if groups == 1 or directions % groups:
            return None
        own = np.arange(directions) // (directions // groups)
        return np.broadcast_to(own[:, None], shape)

    def processes(self, group: int | None) -> list[int]:
        """The processes of a group of devices; of all for None."""
        devices = self.mesh.devices if group is None else self.mesh.devices[group]
        return sorted({device.process_index for device in devices.flat})

    def facts(self) -> dict[str, Any]:
        """Mesh, axis types and processes."""
        return {"mesh": self._sizes, "axis_types": "auto", "processes": self.peers.count}

    def _sent(self, value: Any, like: jax.Array | jax.ShapeDtypeStruct) -> jax.Array:
        if _is_key(like):
            struct = jax.eval_shape(noise.words, like)
            words = jax.ShapeDtypeStruct(struct.shape, struct.dtype, sharding=like.sharding)
            sent = self._sent(None if value is None else noise.words(value), words)
            return jax.jit(noise.from_words)(sent)
        own = np.zeros(like.shape, like.dtype) if value is None else np.asarray(value)
        whole = own
        if self.peers.count > 1:
            whole = np.asarray(multihost_utils.broadcast_one_to_all(own)).astype(own.dtype)
        return jax.make_array_from_callback(whole.shape, like.sharding, lambda i: whole[i])

    def _spread(self, tokens: Tokens, spec: PartitionSpec) -> Tokens:
        sharding = NamedSharding(self.mesh, spec)
        spread = lambda array: jax.make_array_from_callback(
            array.shape, sharding, lambda index: array[index]
        )
        return jax.tree.map(spread, tokens)


def _is_key(leaf: jax.Array | jax.ShapeDtypeStruct) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
