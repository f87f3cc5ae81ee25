"""Evaluation on many devices, which exchange nothing but losses.

Whoever knows the key and the losses can make the update, so a step has no gradient to exchange.
JAX's own runtime does the rest, along up to three kinds of mesh axes:

* population: each device group evaluates its share of the K directions; all make the same update.
* data: each holds a part of the batch. A loss that is a mean over it becomes a sum of scalars.
* model: each holds a part of the weights, and draws the part of the noise that belongs to them.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from loren_jax import noise
from loren_jax.evaluation.perturbed import perturbed
from loren_jax.types import Evaluation, PyTree, Query, ValueFn

Axes: TypeAlias = str | Sequence[str] | None
"""Names of mesh axes."""

Weights: TypeAlias = Callable[[str, tuple[int, ...]], PartitionSpec]
"""`(path, shape) -> PartitionSpec` of a parameter."""


def sharded(
    mesh: jax.sharding.Mesh,
    *,
    population: Axes = None,
    data: Axes = None,
    weights: Weights | None = None,
    evaluation: Evaluation | None = None,
) -> "Sharded":
    r"""An evaluation whose queries, batch and weights are spread over a mesh.

    Hand it to any optimiser and place its inputs: the batch over `data`, the parameters as
    `weights` says, both by `jax.device_put` or `jax.make_array_from_process_local_data`. Nothing
    else changes. Noise is the same for every mesh; losses agree to rounding.

    A step's collectives, for K directions at S points:

    * `population`: one gather of the K S losses, float32.
    * `data`: those of the loss itself, for a mean one float32 a query; none in the update.
    * `weights`: those of K S forward passes; none in the update. There is one exception: full
      Gaussian directions with a covariance, as `loren` draws them without a `rank`, need sums over
      a matrix of which each device has a part, of as many numbers as it has rows or columns. With
      a rank they need none.

    The noise of a matrix that is sharded is drawn at once and not block by block, each device its
    part: it takes as much memory as that part, in float32, while it is used. Stacks of layers
    should keep their first axis whole; a loop over a sharded axis sends the layers.

    Args:
      mesh: the devices. Its axes are automatic ones; of explicit ones see `automatic`.
      population: axes that the queries are spread over. Their number should divide K, or K S,
        otherwise some devices wait.
      data: axes that the batch is placed over. Only the choice of `chunk_size` depends on it.
      weights: how the parameters are placed; None where each device has all of them.
      evaluation: how one query runs; None is `evaluation.perturbed`.

    Returns:
      An evaluation.

    Raises:
      ValueError: an axis that the mesh does not have, or one that has two purposes.

    >>> import loren_jax
    >>> mesh = jax.make_mesh((1,), ("population",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> evaluation = sharded(mesh, population="population")
    >>> optimizer = loren_jax.loren(0.1, rank=1, evaluation=evaluation)
    >>> step = loren_jax.train_step(lambda params, x: jnp.sum((params - x) ** 2), optimizer)
    >>> everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    >>> params, x = jax.device_put((jnp.zeros(3), jnp.ones(3)), everywhere)
    >>> params, state = step(params, optimizer.init(params), x)
    """
    population, data = _names("population", population, mesh), _names("data", data, mesh)
    if both := set(population) & set(data):
        raise ValueError(
            f"population and data both name the mesh axis {min(both)!r}: give each axis one "
            "purpose, and make the mesh with one axis more."
        )
    return Sharded(mesh, population, data, weights, evaluation or perturbed)


@dataclass(frozen=True)
class Sharded:
    """What `sharded` returns: an evaluation that also knows where a step's arrays lie.

    Attributes:
      mesh: the devices.
      population: names of the axes that the queries are spread over.
      data: names of the axes that the batch is placed over.
      weights: how the parameters are placed; None where each device has all of them.
      evaluation: how one query runs.
    """

    mesh: jax.sharding.Mesh
    population: tuple[str, ...]
    data: tuple[str, ...]
    weights: Weights | None
    evaluation: Evaluation

    def __call__(self, value_fn: ValueFn, params: PyTree) -> Query:
        """A query, and how all of them are spread."""
        query = self.evaluation(value_fn, params)
        size = query.activation_bytes
        parts = math.prod(self.mesh.shape[name] for name in self.data)
        return query._replace(
            activation_bytes=None if size is None else -(-size // parts),
            devices=math.prod(self.mesh.shape[name] for name in self.population),
            spread=self.spread if self.population else None,
        )

    def spread(
        self, losses: Callable[[Array], Float[Array, "..."]], number: int
    ) -> Float[Array, "..."]:
        """The losses of queries 0 to `number` on every device, each evaluated by one group.

        Args:
          losses: `numbers -> losses` of these queries.
          number: how many there are.

        Returns:
          The losses, in their order.
        """
        groups = math.prod(self.mesh.shape[name] for name in self.population)
        share = -(-number // groups)
        # Groups with nothing left to do evaluate some query once more.
        numbers = np.arange(groups * share, dtype=np.int32) % number
        names = self.population if len(self.population) > 1 else self.population[0]

        def part(numbers: Array) -> Array:
            return jax.lax.all_gather(losses(numbers), names, tiled=True)

        every = jax.shard_map(
            part,
            mesh=self.mesh,
            in_specs=PartitionSpec(names),
            out_specs=PartitionSpec(),
            axis_names=set(self.population),
            check_vma=False,
        )
        return every(numbers)[:number]

    def context(self) -> Any:
        """In which a step is traced, so that noise is drawn as it can be divided."""
        return jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh)

    def described(self, params: PyTree) -> PyTree:
        """Shapes, dtypes and places of the parameters, for what needs no more to draw directions."""
        specs = self.specs(params)

        def describe(leaf: Any, spec: PartitionSpec) -> jax.ShapeDtypeStruct:
            sharding = NamedSharding(self.mesh, spec)
            return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf), sharding=sharding)

        return jax.tree.map(describe, params, specs)

    def specs(self, params: PyTree) -> PyTree:
        """How each parameter is placed."""
        if self.weights is None:
            return jax.tree.map(lambda leaf: PartitionSpec(), params)
        spec = lambda path, leaf: self.weights("/".join(noise.path_names(path)), jnp.shape(leaf))
        return jax.tree_util.tree_map_with_path(spec, params)

    def everywhere(self, tree: PyTree) -> PyTree:
        """The same tree, whole on every device: nothing of it is made by one for another."""
        return jax.tree.map(lambda x: self._put(x, PartitionSpec()), tree)

    def beside(self, tree: PyTree, params: PyTree) -> PyTree:
        """The same tree; what has a parameter's path and shape lies as that does, the rest whole.

        Args:
          tree: such as the parameters, or a state with trees like them.
          params: the parameters.

        Returns:
          The tree.
        """
        leaves = jax.tree_util.tree_leaves_with_path(params)
        specs = jax.tree.structure(params).flatten_up_to(self.specs(params))
        known = {(path, jnp.shape(x)): s for (path, x), s in zip(leaves, specs, strict=True)}

        def put(path: Any, x: Any) -> Any:
            ends = [(path[i:], jnp.shape(x)) for i in range(len(path) + 1)]
            return self._put(x, next((known[e] for e in ends if e in known), PartitionSpec()))

        return jax.tree_util.tree_map_with_path(put, tree)

    def _put(self, x: Any, spec: PartitionSpec) -> Any:
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, spec))


class Whole:
    """The same for an evaluation that knows of no mesh: everything stays as it is."""

    def context(self) -> Any:
        """None is needed."""
        return contextlib.nullcontext()

    def described(self, params: PyTree) -> PyTree:
        """The parameters."""
        return params

    def everywhere(self, tree: PyTree) -> PyTree:
        """The tree."""
        return tree

    def beside(self, tree: PyTree, params: PyTree) -> PyTree:
        """The tree."""
        return tree


def layout_of(evaluation: Evaluation | None) -> Sharded | Whole:
    """Where the arrays of a step lie that is evaluated so."""
    return evaluation if isinstance(evaluation, Sharded) else Whole()


def _names(argument: str, axes: Axes, mesh: jax.sharding.Mesh) -> tuple[str, ...]:
    names = () if axes is None else (axes,) if isinstance(axes, str) else tuple(axes)
    for name in names:
        if name not in mesh.shape:
            raise ValueError(
                f"{argument} names the axis {name!r}, but the mesh has {tuple(mesh.shape)}: make "
                f"it with jax.make_mesh(sizes, names, axis_types=...)."
            )
    return names
