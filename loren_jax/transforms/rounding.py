"""Updates that survive the rounding to bfloat16 or float16 parameters. Last in a chain.

An update of less than half a spacing of a narrow parameter is lost when it is added: in bfloat16
that is 2^-9 to 2^-8 of the parameter, and most updates of a fine-tuning are smaller. Two ways out:
round up or down at random (`stochastic_rounding`), or keep what was rounded away and add it next
time (`compensated_sum`).

Both return float32 updates with which `optax.apply_updates`, which adds in float32 and casts, lands
on the chosen number exactly. The arithmetic is on float32 numbers that the narrow dtype can
represent and not by casting there and back, as compilers are free to drop such casts.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, Int, Key, UInt32

from loren_jax import noise
from loren_jax.types import PyTree, Seed

_float32 = functools.partial(jnp.asarray, dtype=jnp.float32)


class StochasticRoundingState(NamedTuple):
    """State of `stochastic_rounding`.

    Attributes:
      count: steps taken.
      key: the numbers of a key; with `count` and a leaf's path they determine the noise.
    """

    count: Int[Array, ""]
    key: UInt32[Array, "2"]


class CompensatedSumState(NamedTuple):
    """State of `compensated_sum`.

    Attributes:
      residual: tree like the parameters: what rounding has taken from each, int16, in units of
        2^-16 of the parameter's spacing; `optax.MaskedNode` where parameters are not narrow.
    """

    residual: PyTree


def stochastic_rounding(key: Seed = 0) -> optax.GradientTransformationExtraArgs:
    r"""Rounds each narrow parameter up or down at random so that its mean is the exact sum.

    .. math::

        p \leftarrow \lfloor s \rfloor + \Delta \, [\, U < (s - \lfloor s \rfloor) / \Delta \,],
        \qquad s = p + u, \quad U \sim \text{uniform}(0, 1)

    with the parameter's spacing `Delta` around `s`; the noise has a variance of at most `Delta^2 /
    4`. Give it float32 updates, as by `in_float32` around what precedes it: narrow ones have lost
    digits before they come here. Updates of float32 parameters and integers pass unchanged, and so
    do those whose sum is not finite or rounds to something that is not.

    Args:
      key: a seed or a threefry key.

    Returns:
      An `optax.GradientTransformationExtraArgs`, the last in a chain.

    Raises:
      ValueError: in `update`, `params` missing.

    >>> params = jnp.ones(1000, jnp.bfloat16)
    >>> tx = stochastic_rounding()
    >>> updates, _ = tx.update(jnp.full(1000, 1e-3), tx.init(params), params)
    >>> moved = optax.apply_updates(params, updates).astype(jnp.float32)
    >>> sorted(set(moved.tolist())), round(float(moved.mean() - 1), 3)
    ([1.0, 1.0078125], 0.001)
    """

    def init(params):
        del params
        start = noise.words(noise.run_key(key))
        return StochasticRoundingState(jnp.zeros((), jnp.int32), start)

    def update(updates, state, params=None, **extra):
        del extra
        step = noise.fold(noise.from_words(state.key), state.count)

        def one(path, p, u):
            if not _is_narrow(p):
                return u
            (own,) = noise.layer_keys(step, [noise.Stream(noise.path_names(path), "rounding")])
            total = _float32(p) + _float32(u)
            spacing = _spacing(total, p.dtype)
            below = jnp.floor(total / spacing)
            up = _uniform(own, p.shape) < total / spacing - below
            return _difference((below + up) * spacing, p, u)

        moved = jax.tree_util.tree_map_with_path(one, _require_params(params), updates)
        return moved, state._replace(count=optax.safe_increment(state.count))

    return optax.GradientTransformationExtraArgs(init, update)


def compensated_sum() -> optax.GradientTransformationExtraArgs:
    r"""Keeps what rounding takes from each narrow parameter and adds it to the next update.

    .. math::

        s = p + r + u, \qquad p \leftarrow \text{round}(s), \qquad r \leftarrow s - p

    This is training with float32 master weights, bit for bit but for a last digit where a number
    crosses a power of two: `p` is the upper half of the master and `r` the lower. The residual is
    one int16 per narrow parameter, in units of 2^-16 of the parameter's spacing: 8 + 16 binary
    digits make the 24 of float32, where a residual in bfloat16 would make 16. Together with
    bfloat16 parameters that is 4 bytes each, of which the model reads 2. What it takes and what
    passes unchanged, without a residual, is as in `stochastic_rounding`.

    Returns:
      An `optax.GradientTransformationExtraArgs`, the last in a chain.

    Raises:
      ValueError: in `update`, `params` missing.

    >>> params = jnp.ones((), jnp.bfloat16)
    >>> tx = compensated_sum()
    >>> state = tx.init(params)
    >>> for _ in range(100):
    ...     updates, state = tx.update(jnp.asarray(1e-3), state, params)
    ...     params = optax.apply_updates(params, updates)
    >>> params
    Array(1.10156, dtype=bfloat16)

    References:
      Zamirai et al., Revisiting BFloat16 Training, 2020, https://arxiv.org/abs/2010.06192
    """

    def init(params):
        zeros = lambda p: jnp.zeros(jnp.shape(p), jnp.int16)
        start = lambda p: zeros(p) if _is_narrow(p) else optax.MaskedNode()
        return CompensatedSumState(jax.tree.map(start, params))

    def update(updates, state, params=None, **extra):
        del extra
        leaves, treedef = jax.tree.flatten(_require_params(params))
        columns = map(treedef.flatten_up_to, (updates, state.residual))
        rows = zip(leaves, *columns, strict=True)
        pairs = [_compensate(p, u, r) if _is_narrow(p) else (u, r) for p, u, r in rows]
        moved, residual = (treedef.unflatten([pair[i] for pair in pairs]) for i in (0, 1))
        return moved, CompensatedSumState(residual)

    return optax.GradientTransformationExtraArgs(init, update)


def _compensate(p: Array, u: Array, r: Int[Array, "..."]) -> tuple[Array, Array]:
    """The update that lands on the rounded sum, and the new residual."""
    unit = lambda x: _spacing(x, p.dtype) * 2.0**-16
    total = _float32(p) + r * unit(_float32(p)) + _float32(u)
    spacing = _spacing(total, p.dtype)
    chosen = jnp.round(total / spacing) * spacing
    moved = _difference(chosen, p, u)
    lost = (total - chosen) / unit(chosen)
    # Half a spacing is one unit too many for int16 on one side.
    lost = jnp.clip(jnp.where(jnp.isfinite(lost), jnp.round(lost), 0), -(2**15), 2**15 - 1)
    return moved, lost.astype(jnp.int16)


def _uniform(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Numbers in (0, 1): the normal distribution function of normal ones."""
    size = math.prod(shape)
    normal = noise.normal_rows(key, jnp.arange(-(-size // noise.ROW)), noise.ROW)
    return jax.scipy.stats.norm.cdf(normal.reshape(-1)[:size]).reshape(shape)


def _difference(chosen: Float[Array, "..."], p: Array, u: Array) -> Float[Array, "..."]:
    """The update from `p` to `chosen`; `u` itself where a plain addition is not finite."""
    finite = (jnp.abs(chosen) <= float(jnp.finfo(p.dtype).max)) & jnp.isfinite(p)
    return jnp.where(finite, chosen - _float32(p), _float32(u))


def _spacing(x: Float[Array, "..."], dtype: DTypeLike) -> Float[Array, "..."]:
    """The distance of neighbouring numbers of `dtype` around each float32 `x`, a power of two."""
    info = jnp.finfo(dtype)
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32) & jnp.uint32(0x7F800000)
    power = jax.lax.bitcast_convert_type(bits, jnp.float32)
    # Below this a spacing, or 2^-16 of it, would be no normal float32 number, or is constant.
    least = max(float(info.smallest_normal), 2.0 ** (info.nmant + 16 - 126))
    return jnp.maximum(power, least) * 2.0**-info.nmant


def _is_narrow(p: ArrayLike) -> bool:
    dtype = jnp.result_type(p)
    return bool(jnp.issubdtype(dtype, jnp.floating)) and jnp.finfo(dtype).bits < 32


def _require_params(params: PyTree) -> PyTree:
    if params is None:
        raise ValueError("params is None: rounding needs them, as in update(u, state, params).")
    return params
