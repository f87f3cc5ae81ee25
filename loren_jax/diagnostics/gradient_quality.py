"""How far an estimate is from the gradient, and its losses from their own rounding."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax import arguments, noise
from loren_jax.types import EstimateState, PyTree, ValueFn


class GradientQuality(NamedTuple):
    r"""Estimates :math:`\hat g_1 \dots \hat g_N` beside the gradient g.

    Attributes:
      relative_error: :math:`\frac1N \sum_i |\hat g_i - g|^2 / |g|^2`. About `d / (K - 1)` for
        leave-one-out in d dimensions.
      relative_error_stderr: its standard error.
      cosine: mean of :math:`\hat g_i \cdot g / (|\hat g_i| |g|)`, 0 for an estimate of zero. In d
        dimensions about `0.8 / sqrt(d)` for one pair, `sqrt((K - 1) / d)` for many queries.
      cosine_of_mean: the cosine of the mean estimate, near 1 if N is many times `d / (K - 1)`.
      gain: :math:`\frac1N \sum_i \hat g_i \cdot g / |g|^2`; 1 for an unbiased estimate.
      gain_stderr: its standard error.
      gradient_norm: `|g|`.
      loss_spread: how far the losses of one estimate differ: their standard deviation, averaged.
      loss_rounding: distance of neighbouring float32 numbers at the mean loss. If the spread is not
        many times larger, the estimate is made of rounding: raise `perturbation_scale`, and
        compute the loss in float32.
    """

    relative_error: Float[Array, ""]
    relative_error_stderr: Float[Array, ""]
    cosine: Float[Array, ""]
    cosine_of_mean: Float[Array, ""]
    gain: Float[Array, ""]
    gain_stderr: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    loss_spread: Float[Array, ""]
    loss_rounding: Float[Array, ""]


def compare_with_gradient(
    estimator: Any,
    value_fn: ValueFn,
    params: PyTree,
    state: EstimateState | None = None,
    *,
    num_estimates: int = 100,
) -> GradientQuality:
    """Compares independent estimates at one point with the gradient from `jax.grad`.

    Costs one backward pass and `num_estimates` times the forward passes of a step. Where a part is
    trained, compare that part: `part = loren_jax.parts.masked(mask, params)`, with
    `lambda some: value_fn(part.put(params, some))` at `part.take(params)`.

    Args:
      estimator: an `estimate`, as an optimiser has one, without what follows it in a chain.
      value_fn: the loss, `params -> scalar`; differentiable.
      params: where to compare.
      state: the estimator's state; None for a fresh one. What it has learned is used and left as it
        is, and its noise is not drawn.
      num_estimates: N, at least 2.

    Returns:
      What was found, means over the estimates.

    Raises:
      TypeError: `state` is that of a chain or of something else.
      ValueError: fewer than two estimates.

    >>> from loren_jax import estimate, schemes
    >>> from loren_jax.directions import isotropic
    >>> estimator = estimate(isotropic(), schemes.two_sided(), num_directions=100)
    >>> quality = compare_with_gradient(estimator, lambda x: jnp.sum(x**2), jnp.ones(3))
    >>> bool(quality.cosine > 0.9)
    True
    """
    arguments.count("num_estimates", num_estimates, 2)
    state = estimator.init(params) if state is None else state
    if not isinstance(state, EstimateState):
        raise TypeError(
            f"expected an EstimateState, got {type(state).__name__}: pass the estimate alone, as "
            "loren(1.0).estimate for loren(1.0), and its part of a chain's state, as state[0]."
        )

    @jax.jit
    def measure(params: PyTree, state: EstimateState) -> GradientQuality:
        gradient = _float32(jax.grad(value_fn)(params))

        def one(total, key):
            estimated, after = estimator.update(
                None, state._replace(key=noise.words(key)), params, value_fn=value_fn
            )
            leaves = _float32(estimated)
            total = [x + y for x, y in zip(total, leaves, strict=True)]
            return total, (_compare(leaves, gradient), after.losses)

        run = noise.from_words(state.key)
        keys = noise.fold_all(noise.fold_name(run, "diagnostics"), (num_estimates,))
        zeros = jax.tree.map(jnp.zeros_like, gradient)
        total, (each, losses) = jax.lax.scan(one, zeros, keys)
        return _summary(each, _compare(total, gradient), losses, jnp.sqrt(_dot(gradient, gradient)))

    return measure(params, state)


class _Comparison(NamedTuple):
    error: Array
    cosine: Array
    gain: Array


def _compare(estimated: list[Array], gradient: list[Array]) -> _Comparison:
    difference = [e - g for e, g in zip(estimated, gradient, strict=True)]
    along, square = _dot(estimated, gradient), _dot(gradient, gradient)
    length = jnp.sqrt(_dot(estimated, estimated)) * jnp.sqrt(square)
    return _Comparison(
        error=_dot(difference, difference) / square,
        # Losses that are equal in float32 make an estimate of exactly zero, which has no angle.
        cosine=jnp.where(length > 0, along / jnp.maximum(length, jnp.finfo(length).tiny), 0.0),
        gain=along / square,
    )


def _summary(
    each: _Comparison, mean: _Comparison, losses: Array, gradient_norm: Array
) -> GradientQuality:
    stderr = lambda x: jnp.std(x, ddof=1) / jnp.sqrt(x.size)
    typical = jnp.abs(jnp.mean(losses))
    return GradientQuality(
        relative_error=jnp.mean(each.error),
        relative_error_stderr=stderr(each.error),
        cosine=jnp.mean(each.cosine),
        cosine_of_mean=mean.cosine,
        gain=jnp.mean(each.gain),
        gain_stderr=stderr(each.gain),
        gradient_norm=gradient_norm,
        loss_spread=jnp.mean(jnp.std(losses.reshape(losses.shape[0], -1), axis=1)),
        loss_rounding=jnp.nextafter(typical, jnp.float32(jnp.inf)) - typical,
    )


def _float32(tree: PyTree) -> list[Array]:
    return [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(tree)]


def _dot(a: list[Array], b: list[Array]) -> Array:
    return sum((jnp.vdot(x, y) for x, y in zip(a, b, strict=True)), start=jnp.float32(0))
