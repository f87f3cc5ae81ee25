"""Where the arrays of a step lie while it is traced.

A compiler decides for itself where intermediate values lie, and may well make a part of the noise
on each device and send it to the others. What is said here leaves it no such choice.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from loren_jax import noise
from loren_jax.directions.matrices import view_of
from loren_jax.scheduling import shard_over
from loren_jax.types import Evaluation, Leaf, PyTree

Weights: TypeAlias = Callable[[str, tuple[int, ...]], PartitionSpec]
"""`(path, shape) -> PartitionSpec` of a parameter."""

_STACKS: ContextVar[Mapping[str, tuple[int, ...]]] = ContextVar("stacks", default={})  # noqa: B039
"""Shapes of the parameters of which a step is given single layers; never changed."""


@contextlib.contextmanager
def layers_of(params: PyTree) -> Iterator[None]:
    """In which a leaf may be one layer of that of `params` at its path, and lies as that does."""
    leaves = jax.tree.leaves(params)
    token = _STACKS.set(dict(zip(noise.leaf_paths(params), map(jnp.shape, leaves), strict=True)))
    try:
        yield
    finally:
        _STACKS.reset(token)


@dataclass(frozen=True)
class Layout:
    """A mesh, and what of a step lies where.

    Attributes:
      mesh: the devices.
      population: names of the axes that the queries are spread over.
      weights: how the parameters are placed; None where each device has all of them.
    """

    mesh: jax.sharding.Mesh
    population: tuple[str, ...]
    weights: Weights | None

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """In which a step is traced: the mesh, and along what axes noise may have to be divided."""
        axes = {name: size for name, size in self.mesh.shape.items() if name not in self.population}
        with jax.sharding.use_abstract_mesh(self._automatic), shard_over(axes):
            yield

    def specs(self, params: PyTree) -> PyTree:
        """How each parameter is placed."""
        if self.weights is None:
            return jax.tree.map(lambda leaf: PartitionSpec(), params)
        weights = self.weights

        def spec(path: str, leaf: Leaf) -> PartitionSpec:
            shape = jnp.shape(leaf)
            stack = _STACKS.get().get(path, shape)
            one = stack[1:] == shape != stack
            entries = list(weights(path, stack if one else shape))[one:]
            # As compiled programs spell it: a step's results are then as its arguments were.
            while entries and entries[-1] is None:
                entries.pop()
            return PartitionSpec(*entries)

        leaves, treedef = jax.tree.flatten(params)
        return treedef.unflatten(map(spec, noise.leaf_paths(params), leaves))

    def describe(self, params: PyTree) -> PyTree:
        """Shapes, dtypes and places of the parameters: what it takes to draw directions."""

        def struct(leaf: Leaf, spec: PartitionSpec) -> jax.ShapeDtypeStruct:
            sharding = NamedSharding(self._automatic, spec)
            return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf), sharding=sharding)

        return jax.tree.map(struct, params, self.specs(params))

    def replicate(self, tree: PyTree) -> PyTree:
        """The same tree, whole on every device."""
        return jax.tree.map(lambda x: self.put(x, PartitionSpec()), tree)

    def place_directions(self, directions: PyTree, params: PyTree, state: PyTree) -> PyTree:
        """Directions, whole on every device but for what they share of a parameter's own shape.

        Those that are made with a state of a matrix's shape, as of `diagonal`, lie as that does.
        """
        learned = {
            (path[i:], jnp.shape(x))
            for path, x in jax.tree_util.tree_leaves_with_path(state)
            for i in range(len(path) + 1)
        }

        def place(path: noise.KeyPath, leaf: Leaf, spec: PartitionSpec, direction: PyTree) -> Any:
            shape = jnp.shape(leaf)
            beside = (path, shape) in learned and not view_of(path, leaf).is_vector
            each = PartitionSpec(None, *spec) if beside else PartitionSpec()
            own = lambda x: {shape: spec, (*x.shape[:1], *shape): each}.get(x.shape)
            return jax.tree.map(lambda x: self.put(x, own(x) or PartitionSpec()), direction)

        specs = self.specs(params)
        return jax.tree_util.tree_map_with_path(place, params, specs, directions)

    def place_as_params(self, tree: PyTree) -> PyTree:
        """A tree like the parameters, where they are."""
        return jax.tree.map(self.put, tree, self.specs(tree))

    def place_learned(self, state: PyTree, params: PyTree) -> PyTree:
        """What directions have learned, where drawing from it takes no exchange."""
        return jax.tree.map(self.put, state, self.learned_specs(state, params))

    def learned_specs(self, state: PyTree, params: PyTree) -> PyTree:
        """What has a matrix's path and shape lies as that does, all else is whole everywhere."""
        return self._specs_like(state, params, lambda path, leaf: not view_of(path, leaf).is_vector)

    def state_specs(self, state: PyTree, params: PyTree) -> PyTree:
        """How an optimiser's state is placed: what has a parameter's path and shape as that is."""
        learned = lambda path: any(getattr(entry, "name", "") == "directions" for entry in path)
        like = self._specs_like(state, params, lambda path, leaf: True)
        drawn = self.learned_specs(state, params)
        choose = lambda path, x, a, b: b if learned(path) else a
        return jax.tree_util.tree_map_with_path(choose, state, like, drawn)

    def put(self, x: Leaf, spec: PartitionSpec) -> Any:
        """The same array, of which the program that is traced has each part where `spec` says."""
        explicit = AxisType.Explicit in self.mesh.axis_types
        mesh = self._automatic if explicit else self.mesh
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))

    @property
    def _automatic(self) -> jax.sharding.AbstractMesh:
        mesh = self.mesh.abstract_mesh
        return mesh.update(axis_types=(AxisType.Auto,) * len(mesh.axis_names))

    def _specs_like(
        self, tree: PyTree, params: PyTree, counts: Callable[[Any, Any], bool]
    ) -> PyTree:
        leaves = jax.tree_util.tree_leaves_with_path(params)
        specs = jax.tree.structure(params).flatten_up_to(self.specs(params))
        known = {
            (path, jnp.shape(x)): spec
            for (path, x), spec in zip(leaves, specs, strict=True)
            if counts(path, x)
        }

        def find(path: noise.KeyPath, x: Leaf) -> PartitionSpec:
            ends = [(path[i:], jnp.shape(x)) for i in range(len(path) + 1)]
            return next((known[end] for end in ends if end in known), PartitionSpec())

        return jax.tree_util.tree_map_with_path(find, tree)


class Whole:
    """The same where no mesh is known of: everything stays as it is."""

    context = contextlib.nullcontext

    def describe(self, tree: PyTree, *beside: PyTree) -> PyTree:
        """What is asked about; so are all others."""
        return tree

    replicate = place_directions = place_as_params = place_learned = describe


def layout_of(evaluation: Evaluation | None) -> Layout | Whole:
    """Where the arrays of a step lie that is evaluated so."""
    return evaluation if isinstance(evaluation, Layout) else Whole()
