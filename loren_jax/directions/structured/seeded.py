"""Full Gaussian directions that are never stored: drawn where they are needed, in blocks."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from loren_jax import noise, scheduling
from loren_jax.covariance import DampedRankOne
from loren_jax.directions.matrices import MatrixView
from loren_jax.directions.structured.direction import Direction, Moments, plus
from loren_jax.precision import wide
from loren_jax.types import Index, Scalar

Sums: TypeAlias = tuple[Array, Array | None]
"""Of the directions, and of the scores where a covariance learns."""

Carry = TypeVar("Carry")


@dataclass(frozen=True)
class Seeded(Direction):
    """Full Gaussian noise, from one key a matrix.

    A matrix is drawn in the fan-out x fan-in view; each fan-out unit's fan-in vector has a key of
    its own. So any part of a matrix can be drawn alone: the rows of an embedding that a batch
    needs, or a block of columns of a kernel, and never more than a block is held.

    Attributes:
      keys: typed keys, one for each matrix of the stack.
      covariance: of the fan-in vectors, over the same stack; None for isotropic noise.
      view: the leaf's matrix view.
      std: factor of each entry, an array of the leaf's shape, float32 at least; None for one.
    """

    keys: Key[Array, "*stack"]
    covariance: DampedRankOne | None
    view: MatrixView
    std: Any = None
    shares = True

    def to_dense(self) -> Float[Array, "..."]:
        """All layers, drawn."""
        if not self.view.stack:
            return self.block(0, self.blocked_size)
        draw = lambda i: self.layer(i).to_dense()
        layers = jax.lax.map(draw, jnp.arange(math.prod(self.view.stack)))
        return self.view.from_layers(layers.reshape(*self.view.stack, *layers.shape[1:]))

    def combine(
        self,
        slope: Array,
        score: Array,
        covariance: DampedRankOne | None = None,
        into: Array | None = None,
    ) -> tuple[Array, Array | None]:
        """Draws query after query for one block after another: one block of noise is alive."""
        own = self._share(covariance)
        learned = None if covariance is None else jnp.zeros_like(covariance.vector)
        axes = self.view.layer.fan_in

        def add(layer: "Seeded", start: Index, width: int) -> tuple[Array, Array | None]:
            def query(sums: Sums, drawn: tuple[Array, Array, Array]) -> tuple[Sums, None]:
                key, slope, score = drawn
                y = replace(layer, keys=key).block(start, width)
                total = sums[0] + slope * y
                if sums[1] is None or layer.covariance is None:
                    return (total, None), None
                return (total, sums[1] + score * layer.covariance.score(y, axes)), None

            shape = layer.block_shape(width)
            empty = None if covariance is None else jnp.zeros(covariance.vector.shape[-1])
            zeros = (jnp.zeros(shape, self._wide(slope)), empty)
            return jax.lax.scan(query, zeros, (layer.keys, slope, score))[0]

        into = jnp.zeros(self.view.shape, self._wide(slope)) if into is None else into
        return _piece_by_piece(own, into, learned, add)

    def squares(self, score: Array) -> Array:
        """`sum_k score_k y_k^2`, drawn as in `combine`."""

        def add(layer: "Seeded", start: Index, width: int) -> tuple[Array, None]:
            def query(total: Array, drawn: tuple[Array, Array]) -> tuple[Array, None]:
                key, score = drawn
                y = replace(layer, keys=key).block(start, width)
                return total + score * jnp.square(y), None

            zeros = jnp.zeros(layer.block_shape(width), self._wide(score))
            return jax.lax.scan(query, zeros, (layer.keys, score))[0], None

        zeros = jnp.zeros(self.view.shape, self._wide(score))
        return _piece_by_piece(self._share(), zeros, None, add)[0]

    def moment_ratio(
        self,
        slopes: Array,
        weights: tuple[Array, Array],
        eps: Scalar,
        into: Array | None,
        factor: Scalar,
    ) -> Array:
        """Drawn step after step for one block after another: the moments are of one block."""

        def add(layer: "Seeded", start: Index, width: int) -> tuple[Array, None]:
            shape = layer.block_shape(width)
            zeros = jnp.zeros(shape, self._wide(slopes))

            def query(total: Array, drawn: tuple[Array, Array]) -> tuple[Array, None]:
                key, slope = drawn
                return total + slope * replace(layer, keys=key).block(start, width), None

            def step(moments: Moments, drawn: tuple[Array, ...]) -> tuple[Moments, None]:
                keys, slope, *weights = drawn
                gradient, _ = jax.lax.scan(query, zeros, (keys, slope))
                return moments.plus(gradient, *weights), None

            steps = (layer.keys.reshape(slopes.shape), slopes, *weights)
            found, _ = jax.lax.scan(step, Moments(zeros, zeros), steps)
            return factor * found.ratio(eps), None

        into = jnp.zeros(self.view.shape, self._wide(slopes)) if into is None else into
        return _piece_by_piece(self._share(), into, None, add)[0]

    def _wide(self, factor: Array) -> Any:
        """Type of a sum of the noise times a factor."""
        covariance = () if self.covariance is None else self.covariance[:1]
        return wide(factor, *covariance, *(() if self.std is None else (self.std,)))

    def after(self, value: Array | None) -> "Seeded":
        """Its keys wait for `value`."""
        if value is None:
            return self
        return replace(self, keys=noise.from_words(scheduling.after(noise.words(self.keys), value)))

    def _share(self, covariance: DampedRankOne | None = None) -> "Seeded":
        """With a covariance and `std` that all K queries share, whether they came so or not."""
        first = lambda x, ndim: x[0] if jnp.ndim(x) > ndim else x
        if covariance is None and self.covariance is not None:
            vector = first(self.covariance.vector, len(self.view.stack) + 1)
            covariance = DampedRankOne(vector, first(self.covariance.damping, 0))
        std = None if self.std is None else first(self.std, len(self.view.shape))
        return replace(self, covariance=covariance, std=std)

    def layer(self, number: Index) -> "Seeded":
        """One matrix of the stack, numbered in row-major order; a leading axis K is kept."""
        depth = len(self.view.stack)
        keys = self.keys.reshape(*self.keys.shape[: self.keys.ndim - depth], -1)[..., number]
        covariance, std = self.covariance, self.std
        if covariance is not None:
            vectors = covariance.vector.reshape(-1, covariance.vector.shape[-1])
            covariance = covariance._replace(vector=vectors[number])
        if std is not None:
            std = _to_layers(std, self.view)[number]
        return replace(self, keys=keys, covariance=covariance, view=self.view.layer, std=std)

    @property
    def blocked_axis(self) -> int:
        """The axis that a single matrix is drawn along: the first of its fan-out axes."""
        return self.view.fan_out[0]

    @property
    def blocked_size(self) -> int:
        """Length of that axis."""
        return self.view.shape[self.blocked_axis]

    def block_shape(self, width: int) -> tuple[int, ...]:
        """Shape of a block of a single matrix."""
        shape = list(self.view.shape)
        shape[self.blocked_axis] = width
        return tuple(shape)

    def block(self, start: Index, width: int) -> Float[Array, "..."]:
        """`width` entries along `blocked_axis` of a single matrix, in the leaf's axis order."""
        units = self.view.m // self.blocked_size
        y = self.rows(start * units + jnp.arange(width * units))
        part = replace(self.view, shape=self.block_shape(width)).from_matrices(y)
        part = scheduling.split_as(part, self.view.split)
        if self.std is None:
            return part
        if self.view.is_split:
            return part * self.std
        return part * jax.lax.dynamic_slice_in_dim(self.std, start, width, self.blocked_axis)

    def rows(self, numbers: Array) -> Float[Array, "rows n"]:
        """Fan-in vectors of some fan-out units of a single matrix, without `std`."""
        y = noise.normal_rows(self.keys, numbers, self.view.n)
        return y if self.covariance is None else self.covariance.apply_sqrt(y, axis=-1)


@dataclass(frozen=True)
class Signed(Seeded):
    """Full noise of independent signs, in place of normal numbers: `P(1) = P(-1) = 1/2`.

    Mean and covariance are those of `Seeded`. The odd moments vanish as well, and of the fourth
    ones `E u^4 = 1` is the least there can be: on a quadratic loss the estimate's squared error has
    a smaller share of the curvature along the axes.
    """

    def rows(self, numbers: Array) -> Float[Array, "rows n"]:
        """Fan-in vectors of some fan-out units of a single matrix, without `std`."""
        y = noise.sign_rows(self.keys, numbers, self.view.n)
        return y if self.covariance is None else self.covariance.apply_sqrt(y, axis=-1)


def over_blocks(direction: Seeded, carry: Carry, fn: Callable[[Carry, Index, int], Carry]) -> Carry:
    """`carry = fn(carry, start, width)` for blocks that cover a single matrix, one after another.

    Blocks are of equal width; where none divides the axis well, one narrower block follows. A
    matrix of which a device has a part is one block: each device draws its part of it.
    """
    size = direction.blocked_size
    if direction.view.is_split:
        return fn(carry, 0, size)
    limit = scheduling.block_numbers() * size // math.prod(direction.view.shape)
    width = _block_width(size, max(1, limit))
    number = size // width
    if number == 1:
        carry = fn(carry, 0, width)
    else:
        carry = jax.lax.fori_loop(0, number, lambda i, carry: fn(carry, i * width, width), carry)
    tail = size - number * width
    return fn(carry, number * width, tail) if tail else carry


def _block_width(size: int, limit: int) -> int:
    """The largest divisor of `size` up to `limit`, unless it is less than half of that.

    >>> _block_width(8192, 512), _block_width(8192, 500), _block_width(50257, 500)
    (512, 256, 500)
    """
    limit = min(size, limit)
    best = max(width for width in range(1, limit + 1) if size % width == 0)
    return best if 2 * best >= limit else limit


def _piece_by_piece(
    direction: Seeded, into: Array, learned: Array | None, add: Callable[..., Any]
) -> tuple[Array, Array | None]:
    """Adds `add(layer, start, width)` to every block of every layer, in the dtype of `into`."""
    view = direction.view
    if not into.size:  # no layer, as of a stack that a recursion has cut down to nothing
        return into, learned
    if view.stack and not view.stack_leads:
        into = jnp.moveaxis(into, view.stack_axes, range(len(view.stack_axes)))
    flat = into.reshape(-1, *view.layer.shape)
    axis = 1 + direction.layer(0).blocked_axis
    scores = None if learned is None else learned.reshape(len(flat), -1)

    def add_layer(i: Index, sums: Sums) -> Sums:
        layer = direction.layer(i)

        def add_block(sums: Sums, start: Index, width: int) -> Sums:
            flat, scores = sums
            total, score = add(layer, start, width)
            if view.is_split:  # a slice along a sharded axis, even of all of it, may gather it
                flat = flat.at[i].set(plus(flat[i], total))
                return flat, None if scores is None else scores.at[i].add(score)
            place = [i, *[0] * (flat.ndim - 1)]
            place[axis] = start
            old = jax.lax.dynamic_slice(flat, place, (1, *total.shape))
            new = plus(old, total[None])
            flat = jax.lax.dynamic_update_slice(flat, new, place)
            return flat, None if scores is None else scores.at[i].add(score)

        return over_blocks(layer, sums, add_block)

    if len(flat) == 1:
        flat, scores = add_layer(0, (flat, scores))
    else:
        flat, scores = jax.lax.fori_loop(0, len(flat), add_layer, (flat, scores))
    into = flat.reshape(into.shape)
    if view.stack and not view.stack_leads:
        into = jnp.moveaxis(into, range(len(view.stack_axes)), view.stack_axes)
    return into, None if scores is None or learned is None else scores.reshape(learned.shape)


def _to_layers(x: Array, view: MatrixView) -> Array:
    """An array of the leaf's shape as `(layers, *layer)`."""
    x = jnp.moveaxis(x, view.stack_axes, range(len(view.stack_axes)))
    return x.reshape(-1, *view.layer.shape)
