"""The ways that `exact` compares: what takes gradients, what forward passes, and a step of each.

A step is the recipe of docs/guides/optax.md: `optax.partition` with `parts.completed`, or, `within`
the forward passes, gradients of the last parts as auxiliary outputs of the very losses that a
forward-only step asks for.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import loren_jax
from benchmarks.evidence.tasks import take
from benchmarks.research.exact_tasks import Parted
from loren_jax.parts import completed
from loren_jax.transformation import form

FORWARD: dict[str, tuple[Callable[..., Any], int]] = {
    "mezo": (loren_jax.mezo, 3),
    "mezo, one pair": (loren_jax.mezo, 1),
    "loren": (loren_jax.loren, 6),
}
"""By name: the factory and its directions."""
ALL = "all"
Rates = dict[str, Any]
"""`exact` and `forward`, as far as a way has both."""


class Way(NamedTuple):
    """How a model is trained.

    Attributes:
      forward: what moves the rest, of `FORWARD`; None leaves it as it is.
      exact: which parts take gradients, of `Parted.lasts` or `ALL`; None for none.
      within: whether their gradients come out of the forward passes of the rest.
      remat: with `jax.checkpoint` around each block.
      rows: row by row, for the memory of one.
      chunk: forward passes at once; None for all.
    """

    forward: str | None = None
    exact: str | None = None
    within: bool = False
    remat: bool = False
    rows: bool = False
    chunk: int | None = None

    @property
    def name(self) -> str:
        """In words."""
        exact = f"gradients of {'everything' if self.exact == ALL else 'the ' + str(self.exact)}"
        words = [exact] if self.exact else []
        words += [self.forward or ""] if self.forward else []
        words = [" within ".join(words) if self.within else " and ".join(words)]
        words += ["remat"] * self.remat + ["row by row"] * self.rows
        words += ["one after another"] * (self.chunk == 1)
        return ", ".join(words)

    def parts(self, parted: Parted) -> tuple[str, ...]:
        """The parts that take gradients."""
        if self.exact == ALL:
            return tuple(parted.task.params)
        return parted.lasts[self.exact] if self.exact else ()

    def passes(self, parted: Parted) -> float:
        """Forward passes that a step counts as."""
        queries = _forward(self, 1.0, 0).passes if self.forward else 0
        gradient = parted.gradient_passes(self.parts(parted)) if self.exact else 0.0
        if self.within:
            return queries * gradient
        return queries + gradient + (1 if self.remat and self.exact else 0)


def _forward(way: Way, rate: Any, key: Any) -> Any:
    factory, directions = FORWARD[way.forward or ""]
    knobs = {"num_directions": directions, "rank": 1, "chunk_size": way.chunk}
    return factory(rate, key=key, **knobs)


def optimizer_of(way: Way, parted: Parted, rates: Rates, key: Any) -> Any:
    """The optimiser of a way; the rates and the key may be traced.

    For `within` it is the pair of both branches: the gradients come out of the first one's step.
    """
    if not way.forward:
        return optax.adamw(rates["exact"])
    forward, exact = _forward(way, rates["forward"], key), way.parts(parted)
    if not exact:
        return forward
    backward = optax.adamw(rates["exact"])
    if way.within:
        moved = lambda path: path.split("/")[0] not in exact
        return loren_jax.trained(forward, moved), backward
    labels = {n: "backward" if n in exact else "forward" for n in parted.task.params}
    return optax.partition({"forward": forward, "backward": backward}, labels)


def start_of(way: Way, parted: Parted, params: Any, key: Any) -> Any:
    """The first state."""
    optimizer = optimizer_of(way, parted, {"exact": 1.0, "forward": 1.0}, key)
    own = {name: params[name] for name in way.parts(parted)}
    if way.within:
        forward, backward = optimizer
        with_room = loren_jax.with_aux(
            forward.init(params), lambda p: (jnp.float32(0), own), params, True
        )
        return with_room, backward.init(own)
    return optimizer.init(params if way.forward else own)


def step_of(way: Way, parted: Parted) -> Callable[..., tuple[Any, Any]]:
    """`(rates, params, state, batch) -> (params, state)`, pure."""
    exact, loss = way.parts(parted), parted.remat if way.remat else parted.task.loss

    def mean(of_rows: Callable[[Any], Any], batch: Any) -> Any:
        return _by_rows(of_rows, parted.weigh, batch) if way.rows else of_rows(batch)

    def gradient(params: Any, batch: Any) -> Any:
        own = {name: params[name] for name in exact}
        of = lambda rows: jax.grad(lambda own: loss({**params, **own}, rows))(own)
        return mean(of, batch)

    def step(rates: Rates, params: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        optimizer = optimizer_of(way, parted, rates, 0)  # the key that counts is in the state
        value_fn = lambda params: mean(lambda rows: loss(params, rows), batch)
        if way.within:
            return _within(way, parted, optimizer, (params, state, batch))
        if not exact:
            return form(optimizer, "apply")(params, state, value_fn=value_fn)
        slopes = gradient(params, batch)
        if not way.forward:
            own = {name: params[name] for name in exact}
            updates, state = optimizer.update(slopes, state, own)
            return {**params, **optax.apply_updates(own, updates)}, state
        none = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), params)
        given = {"value_fn": completed(value_fn, params)}
        updates, state = optimizer.update({**none, **slopes}, state, params, **given)
        return optax.apply_updates(params, updates), state

    return step


def _within(way: Way, parted: Parted, pair: Any, at: tuple[Any, Any, Any]) -> tuple[Any, Any]:
    """A step whose losses bring the gradients of the last parts with them."""
    (forward, backward), (params, (own_state, state), batch) = pair, at
    exact, loss = way.parts(parted), parted.task.loss

    def loss_and_slopes(params: Any) -> tuple[jax.Array, Any]:
        own = {name: params[name] for name in exact}
        return jax.value_and_grad(lambda own: loss({**params, **own}, batch))(own)

    moved, own_state = form(forward, "apply")(
        params, own_state, value_fn=loss_and_slopes, has_aux=True
    )
    slopes = jax.tree.map(lambda x: jnp.mean(x, (0, 1)), optax.tree.get(own_state, "aux"))
    own = {name: params[name] for name in exact}
    updates, state = backward.update(slopes, state, own)
    return {**moved, **optax.apply_updates(own, updates)}, (own_state, state)


def _by_rows(of_rows: Callable[[Any], Any], weigh: Callable[[Any], jax.Array], batch: Any) -> Any:
    """The mean over rows of what a batch of one gives, one row after another."""
    weights = weigh(batch)
    one = lambda row: jax.tree.map(lambda x: x[None], row)

    def add(total: Any, rows: Any) -> tuple[Any, None]:
        row, weight = rows
        return jax.tree.map(lambda t, x: t + weight * x, total, of_rows(one(row))), None

    like = jax.eval_shape(of_rows, jax.tree.map(lambda x: x[:1], batch))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
    batch = jax.tree.map(jnp.asarray, batch)
    return jax.lax.scan(add, zeros, (batch, weights / jnp.sum(weights)))[0]


def steps_of(way: Way, parted: Parted) -> Callable[..., tuple[Any, Any]]:
    """`(rates, params, state, train, rows (steps, B)) -> (params, state)`, not yet compiled."""
    step = step_of(way, parted)

    def advance(rates: Rates, params: Any, state: Any, train: Any, rows: Any) -> tuple[Any, Any]:
        one = lambda carry, indices: (step(rates, *carry, take(train, indices)), None)
        return jax.lax.scan(one, (params, state), rows)[0]

    return advance
