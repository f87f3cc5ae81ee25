"""Weights and the directions that they are moved along, of every kind."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax import noise
from loren_jax.covariance import DampedRankOne
from loren_jax.directions.matrices import MatrixView, view_of
from loren_jax.directions.structured import Dense, LowRank, Scaled, Seeded, Zero
from loren_jax.types import MatrixAxes

from .drafts import Draft

KINDS = ["low rank"] * 6 + ["seeded"] * 3 + ["dense", "zero", "scaled"]

WANTED = {
    "embedding": ["seeded"] * 4 + ["low rank", "scaled"],
    "pair": ["low rank", "seeded", "dense", "scaled"],
    "stacks": ["low rank", "seeded", "dense"],
    "even": ["low rank"] * 4 + ["seeded"],
    "even stacks": ["low rank"],
}
"""The same for the operations that want weights of a special kind."""


def shape(draft: Draft, wants: str) -> tuple[int, ...]:
    """One to four short axes, or what an operation wants: see `Operation.wants`."""
    even = [2, 2, 2, 4]
    if wants == "embedding":
        rest = [draft.choice([1, 2, 2, 3, 3, 4]) for _ in range(draft.choice([1, 1, 1, 2]))]
        rest.insert(draft.integer(0, len(rest)), draft.choice([5, 6, 7]))
        return tuple(rest)
    if wants == "even stacks":
        return (draft.choice([2, 2, 4]), *(draft.choice(even) for _ in range(2)))
    if wants == "even":
        return tuple(draft.choice([*even, 3]) for _ in range(draft.choice([2, 2, 3])))
    if wants == "stacks":
        return (draft.choice([2, 3]), *(draft.choice([1, 2, 3, 4]) for _ in range(2)))
    ndim = draft.choice([2, 2, 3] if wants == "pair" else [1, 2, 2, 2, 3, 3, 4])
    axes = tuple(draft.choice([1, 2, 2, 3, 3, 4, 5]) for _ in range(ndim))
    while np.prod(axes) > 72:
        axes = axes[1:]
    return axes


def weight(draft: Draft, dtype: Any, wants: str = "") -> np.ndarray:
    """An array of such a shape."""
    shape_ = shape(draft, wants)
    if draft.exact and dtype != np.float64:
        return np.asarray(draft.rng.choice([-1.0, -0.5, 0.5, 1.0], shape_)).astype(dtype)
    return draft.rng.normal(size=shape_).astype(dtype)


def view(draft: Draft, shape: tuple[int, ...]) -> MatrixView:
    """The default axes, or any others."""
    like = jax.ShapeDtypeStruct(shape, np.float32)
    if len(shape) < 2 or draft.flip(0.6):
        return view_of((), like)
    order = draft.permutation(len(shape))
    inward = draft.integer(1, min(2, len(shape) - 1))
    outward = draft.integer(1, len(shape) - inward)
    axes = MatrixAxes(order[:inward], order[inward : inward + outward])
    return view_of((), like, lambda path, shape: axes)


def embedding_view(shape: tuple[int, ...]) -> MatrixView:
    """One matrix whose fan-out is the longest axis."""
    axis = int(np.argmax(shape))
    axes = MatrixAxes(tuple(i for i in range(len(shape)) if i != axis), (axis,))
    return view_of((), jax.ShapeDtypeStruct(shape, np.float32), lambda path, shape: axes)


def directions(
    draft: Draft, weight: np.ndarray, scale: float, count: int, wants: str = ""
) -> tuple[str, list]:
    """A few directions of one kind, and the kind in words."""
    seen = view(draft, weight.shape)
    if wants == "embedding":
        seen = embedding_view(weight.shape)
    kind = draft.choice(WANTED.get(wants, KINDS))
    if kind == "scaled":
        name, inners = _plain(draft, seen, scale, count)
        made = [Scaled(inner, jnp.float32(0.5 * (i + 1)), jnp.float32(1)) for i, inner in
                enumerate(inners)]  # fmt: skip
        return f"Scaled({name})", made
    return _plain(draft, seen, scale, count, kind)


def _plain(
    draft: Draft, seen: MatrixView, scale: float, count: int, kind: str | None = None
) -> tuple[str, list]:
    kind = kind or draft.choice(["low rank", "low rank", "seeded", "dense"])
    if kind == "zero":
        return "Zero", [Zero(seen)] * count
    if kind == "dense" or seen.is_vector:
        arrays = [_numbers(draft, seen.shape, scale) for _ in range(count)]
        return "Dense", [Dense(a, seen) for a in arrays]
    axes = f"in {seen.fan_in} out {seen.fan_out}"
    if kind == "seeded":
        return _seeded(draft, seen, count, axes)
    rank = draft.integer(1, 3)
    shared = draft.flip(0.15)
    left = [_numbers(draft, (*seen.stack, seen.m, rank), 4 * scale) for _ in range(count)]
    right = [_numbers(draft, (*seen.stack, seen.n, rank), 0.25) for _ in range(count)]
    if draft.exact:
        left, right = ([_powers(draft, a.shape, s) for a in side] for side, s in
                       ((left, 0.25 / scale), (right, 2.0)))  # fmt: skip
    if shared:
        right = [right[0]] * count
    made = [LowRank(a, b, seen) for a, b in zip(left, right, strict=True)]
    return f"LowRank(rank {rank}, {axes}{', one right factor' * shared})", made


def _powers(draft: Draft, shape: tuple[int, ...], size: float) -> jax.Array:
    """Powers of two of either sign, `size` or twice that; of the right factor, `size` alone."""
    steps = [1.0] if size == 2.0 else [1.0, 2.0]
    return jnp.asarray(size * draft.rng.choice(steps, shape) * draft.rng.choice([-1, 1], shape),
                       jnp.float32)  # fmt: skip


def _numbers(draft: Draft, shape: tuple[int, ...], scale: float) -> jax.Array:
    """Of a dense direction: multiples of one half, after the scale, if all is exact."""
    if draft.exact:
        numbers = draft.rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0], shape) / scale
    else:
        numbers = draft.rng.normal(size=shape)
    return jnp.asarray(numbers, jnp.float32)


def _seeded(draft: Draft, seen: MatrixView, count: int, axes: str) -> tuple[str, list]:
    covariance = std = None
    kind = draft.choice(["", "", "covariance", "std"])
    if kind == "covariance":
        vector = jnp.asarray(draft.rng.normal(size=(*seen.stack, seen.n)), jnp.float32)
        covariance = DampedRankOne(vector, jnp.float32(0.5))
    if kind == "std":
        std = jnp.asarray(0.5 + draft.rng.random(seen.shape), jnp.float32)
    seeds = [draft.integer(0, 10**6) for _ in range(count)]
    keys = [noise.fold_all(noise.run_key(seed), seen.stack) for seed in seeds]
    made = [Seeded(key, covariance, seen, std) for key in keys]
    text = f"Seeded({axes}{', ' if kind else ''}{kind})"
    return text, made


def axes(moves: Any) -> Any:
    """`vmap`'s axes for the directions of one query: None for what all queries share."""

    def axis(path: Any, leaf: Any) -> int | None:
        names = {getattr(key, "name", None) for key in path}
        return None if names & {"std", "covariance"} else 0

    return jax.tree_util.tree_map_with_path(axis, moves)


def dense(direction: Any) -> np.ndarray:
    """In double precision, as exactly as the kind allows."""
    if isinstance(direction, Scaled):
        return float(direction.radius) * dense(direction.inner)
    if isinstance(direction, LowRank):
        left, right = (np.asarray(f, np.float64) for f in (direction.left, direction.right))
        seen = direction.view
        product = np.einsum("...mr,...nr->...mn", left, right)
        order = seen.stack_axes + seen.fan_out + seen.fan_in
        leaf = product.reshape([seen.shape[i] for i in order])
        return np.transpose(leaf, [order.index(i) for i in range(len(order))])
    return np.asarray(_drawn(direction), np.float64)


@jax.jit
def _drawn(direction: Any) -> Any:
    return direction.to_dense()
