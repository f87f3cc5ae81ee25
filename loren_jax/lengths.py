"""What a method needs to be told of steps of a given length."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from loren_jax import arguments, schemes
from loren_jax.optimizers import METHODS
from loren_jax.transformation import Update, ZerothOrder, form, update_of
from loren_jax.types import PyTree, Scheme

RATES = frozenset({"learning_rate", "vector_learning_rate", "full_learning_rate"})
"""Arguments of factories that give way to a length."""
TRUST = 8
"""Directions after which the running mean of squared slopes is believed by half: of one or two it
may be near zero."""


class Lengths(NamedTuple):
    """What a method needs to be told of lengths.

    Attributes:
      make: from a length or a rate, and maybe a perturbation scale, to the optimiser.
      first: one of rate 1, for all that no rate changes.
      walk: omega.
      unit: `"slopes"`, `"directions"` or None, as of `Entry`.
      scale: the perturbation scale, a number or a schedule.
      gain: what momentum multiplies the rate by.
      given: the factory's arguments, with its defaults.
      sizes: as `Entry.sizes` has them; None where `entry` measures.
    """

    make: Callable[..., ZerothOrder]
    first: ZerothOrder
    walk: float
    unit: str | None
    scale: Any
    gain: float
    given: Mapping[str, Any]
    sizes: tuple[float, float] | None = None

    @classmethod
    def of(cls, factory: Callable[..., ZerothOrder], knobs: Any, walk: Any) -> "Lengths":
        """Of a factory with these arguments, its rates left out."""
        entry = METHODS.get(getattr(factory, "__name__", ""))
        entry = entry if entry and entry.factory is factory else METHODS["mezo"]
        parameters = inspect.signature(factory).parameters.items()
        given = {name: parameter.default for name, parameter in parameters} | knobs
        leaves = entry.unit == "leaves"
        of = lambda scale: knobs if scale is None else {**knobs, "perturbation_scale": scale}
        make = lambda rate, scale=None: factory(rate, **of(scale))
        if leaves:
            rates = dict.fromkeys(RATES & given.keys(), 1.0)
            plain = lambda scale: factory(**rates, **of(scale))
            make = lambda length, scale=None: _of_length(plain(scale), length)
        momentum = given.get("momentum") if entry.plain else None
        return cls(
            make=make,
            first=make(1.0),
            walk=walk * entry.walk,
            unit=None if leaves else entry.unit,
            scale=given["perturbation_scale"],
            gain=1.0 - (momentum or 0.0),
            given=given,
            sizes=None if entry.sizes is None else entry.sizes(given),
        )

    def rate_of(self, length: Array, state: Any) -> Array:
        """The rate of a step of that length; zero while an `AutomaticState` knows nothing."""
        seen = state.taken * optax.tree.get(state.inner, "losses").shape[0]
        square = state.entry * state.square / jnp.maximum(state.weight, 1e-9)
        known = square > 0
        rate = length * self.gain * seen / (seen + TRUST)
        return jnp.where(known, rate / jnp.sqrt(jnp.where(known, square, 1.0)), 0.0)

    def square(self, inner: PyTree, step: Array) -> Array:
        """The sum of the squared slopes of the latest step."""
        losses = optax.tree.get(inner, "losses")[:, : len(self.first.scheme.points)]
        scale = arguments.value_at(self.scale, step)
        slope = schemes.weigh(self.first.scheme, losses, scale).slope
        return jnp.sum(slope**2).astype(jnp.float32)

    def entry(self, inner: PyTree, params: PyTree) -> Array:
        """Mean square of an estimate's numbers by its slopes': of the one from made-up losses."""
        if self.sizes is not None:
            return jnp.float32(self.sizes[1])
        if self.unit != "directions":
            return jnp.ones((), jnp.float32)
        losses = optax.tree.get(inner, "losses")
        scheme, estimate = self.first.scheme, self.first.estimate
        made = _alternating_losses(scheme, losses.shape)
        estimated, after = estimate.update(None, estimate.init(params), params, losses=made)
        numbers = sum(leaf.size for leaf in jax.tree.leaves(params))
        total = optax.tree.norm(jax.tree.map(jnp.float32, estimated), squared=True)
        return total / numbers / self.square(after, jnp.zeros((), jnp.int32))

    def moved(self, inner: PyTree, params: PyTree) -> Array:
        """Mean square of a query's numbers, by the perturbation scale."""
        return self.entry(inner, params) if self.sizes is None else jnp.float32(self.sizes[0])


def _alternating_losses(scheme: Scheme, shape: tuple[int, int]) -> Array:
    """Losses whose slopes are 1 and -1 in turn, up to a factor."""
    signs = 1.0 - 2.0 * (jnp.arange(shape[0]) % 2)
    return signs[:, None] * jnp.asarray(scheme.points)[None]


def _of_length(optimizer: ZerothOrder, length: Any) -> ZerothOrder:
    """The optimiser, each leaf of its updates with a root mean square of `length`."""

    def update(updates, state, params=None, **sources):
        updates, state = update_of(optimizer)(updates, state, params, **sources)
        norm = lambda u: jnp.sqrt(jnp.mean(jnp.square(u.astype(jnp.float32))))
        scaled = lambda u: (u * (length / jnp.maximum(norm(u), 1e-30))).astype(u.dtype)
        return jax.tree.map(scaled, updates), state

    facts = {name: form(optimizer, name) for name in ("ask", "scheme", "passes", "estimate")}
    return ZerothOrder(optimizer.init, Update(update, **facts))
