"""The evaluation: queries spread over a mesh, batch and weights where the user placed them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import Array

from loren_jax.evaluation._perturbed import perturbed
from loren_jax.evaluation._sharded.layout import Layout, Weights
from loren_jax.types import Evaluation, PyTree, Query, ValueFn

Axes: TypeAlias = str | Sequence[str] | None
"""Names of mesh axes."""


def sharded(
    mesh: jax.sharding.Mesh,
    *,
    population: Axes = None,
    data: Axes = None,
    weights: Weights | None = None,
    evaluation: Evaluation | None = None,
) -> "Sharded":
    """An evaluation whose queries, batch and weights are spread over a mesh.

    Hand it to any optimiser, and place what a step takes with `place`, `start` and `place_batch`;
    nothing else changes. The step is an ordinary compiled function that JAX divides. Noise is the
    same for every mesh; losses agree to rounding.

    What the devices send in a step with K directions at S points:

    * `population`: one gather of the K S losses, and of what else the loss returns.
    * `data`: what the loss itself adds up, for a mean one float32 a query; nothing in the update.
    * `weights`: what K S forward passes send; nothing in the update. There is one exception. Full
      Gaussian directions with a covariance, as `loren` draws them without a `rank`, need sums over
      a matrix of which each device has a part: of as many numbers as it has rows or columns, for
      each query. With a rank they need none.

    The noise of a matrix that is sharded is drawn at once and not block by block, each device its
    part; while it is used it takes as much memory as that part in float32. Stacks of layers should
    keep their first axis whole: a loop over a sharded axis sends the layers.

    Args:
      mesh: the devices. Of automatic and of explicit axes; for the latter a step must be
        `automatic`, as those of `train_step` are.
      population: axes that the queries are spread over. Their number should divide K, or K S;
        otherwise some devices wait.
      data: axes that the batch is placed over.
      weights: `(path, shape) -> PartitionSpec` of a parameter; None where each device has all.
      evaluation: how one query runs; None is `evaluation.perturbed`.

    Returns:
      An evaluation.

    Raises:
      ValueError: an axis that the mesh does not have, or one that has two purposes.

    >>> import jax.numpy as jnp
    >>> import loren_jax
    >>> mesh = jax.make_mesh((1,), ("population",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> evaluation = sharded(mesh, population="population")
    >>> optimizer = loren_jax.loren(0.1, rank=1, evaluation=evaluation)
    >>> step = loren_jax.train_step(lambda params, x: jnp.sum((params - x) ** 2), optimizer)
    >>> params = evaluation.place(jnp.zeros(3))
    >>> state = evaluation.start(optimizer, params)
    >>> params, state = step(params, state, evaluation.place_batch(np.ones(3)))
    """
    population, data = _names("population", population, mesh), _names("data", data, mesh)
    if both := set(population) & set(data):
        raise ValueError(
            f"population and data both name the mesh axis {min(both)!r}: give each axis one "
            "purpose, and make the mesh with one axis more."
        )
    return Sharded(mesh, population, weights, data, evaluation or perturbed)


@dataclass(frozen=True)
class Sharded(Layout):
    """What `sharded` returns: an evaluation that knows where a step's arrays lie.

    Attributes:
      data: names of the axes that the batch is placed over.
      evaluation: how one query runs.
    """

    data: tuple[str, ...]
    evaluation: Evaluation

    def __call__(self, value_fn: ValueFn, params: PyTree) -> Query:
        """A query, and how all of them are spread."""
        query = self.evaluation(value_fn, params)
        size, parts = query.activation_bytes, self._size(self.data)
        return query._replace(
            activation_bytes=None if size is None else -(-size // parts),
            groups=self._size(self.population),
            spread=self.spread if self._size(self.population) > 1 else None,
        )

    def spread(self, results: Callable[[Array], PyTree], number: int) -> PyTree:
        """The results of all queries on every device, each evaluated by one group of devices."""
        groups = self._size(self.population)
        share = -(-number // groups)
        # Groups with nothing left to do evaluate some query once more.
        numbers = np.arange(groups * share, dtype=np.int32) % number
        numbers = self.put(numbers.reshape(groups, share), PartitionSpec(self.population))
        every = self.replicate(jax.vmap(results, spmd_axis_name=self.population)(numbers))
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:number], every)

    def place(self, params: PyTree) -> PyTree:
        """Parameters on the mesh, as `weights` says; with several processes, the same on each."""
        return jax.tree.map(self._spread_out, params, self.specs(params))

    def start(self, optimizer: optax.GradientTransformation, params: PyTree) -> PyTree:
        """`optimizer.init(params)` on the mesh; no device makes more than its part of it.

        Args:
          optimizer: any Optax transformation.
          params: the parameters on the mesh.
        """
        shapes = jax.eval_shape(optimizer.init, params)
        place = lambda spec: NamedSharding(self.mesh, spec)
        shardings = jax.tree.map(place, self.state_specs(shapes, params))
        return jax.jit(optimizer.init, out_shardings=shardings)(params)

    def place_batch(self, batch: PyTree) -> PyTree:
        """A batch on the mesh, its rows, the leading axis, over `data`.

        With several processes each takes the whole batch. Where each has rows of its own, take
        `jax.make_array_from_process_local_data`.
        """
        rows = PartitionSpec(self.data) if self.data else PartitionSpec()
        return jax.tree.map(lambda x: self._spread_out(x, rows), batch)

    def _spread_out(self, x: ArrayLike, spec: PartitionSpec) -> jax.Array:
        sharding = NamedSharding(self.mesh, spec)
        if sharding.is_fully_addressable or not getattr(x, "is_fully_addressable", True):
            return jax.device_put(x, sharding)
        whole = np.asarray(x)
        return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

    def _size(self, names: tuple[str, ...]) -> int:
        return math.prod(self.mesh.shape[name] for name in names)


def _names(argument: str, axes: Axes, mesh: jax.sharding.Mesh) -> tuple[str, ...]:
    names = () if axes is None else (axes,) if isinstance(axes, str) else tuple(axes)
    for name in names:
        if name not in mesh.shape:
            raise ValueError(
                f"{argument} names the axis {name!r}, but the mesh has {tuple(mesh.shape)}: make "
                "it with jax.make_mesh(sizes, names, axis_types=...)."
            )
    return names
