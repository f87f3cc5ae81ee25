"""A learning rate that nobody chooses: steps of a planned length, measured by their own losses."""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from loren_jax import arguments
from loren_jax.losses._per_example import bind
from loren_jax.optimizers import METHODS
from loren_jax.transformation import Update, ZerothOrder, form, update_of
from loren_jax.types import PyTree, Scheme

RATES = frozenset({"learning_rate", "vector_learning_rate", "full_learning_rate"})
"""Arguments of factories that are left to it."""
SHARE = 0.15
"""Of the first loss: what noise of the size of a whole run's walk adds to it."""
FIRST, SEARCHED, MEASURED, MOST, RAISED = 0.05, 3, 3, 8.0, 1.25
"""Of `measure_walk`: the first noise, how often it is changed and measured, how much at most, and
how much the last mean may raise it: of losses that noise lowers there is no bound."""
SEARCHED_BATCHES, SOME = SEARCHED + MEASURED, 6
"""Batches of it, those of the first steps, and directions in each."""
NOTHING = 1e-37
"""The rate of a step of no length, as factories take none of zero where they see it."""
LONGEST, BEGINNING = 3.0, 5
"""By how much steps grow at most; steps whose mean loss is the first one."""
FORGETTING, TRUST = 0.05, 8
"""Weight of the newest step in the running mean of squared slopes, and the directions after which
that is believed by half: of one or two it may be near zero."""


class AutomaticState(NamedTuple):
    """State of `automatic`.

    Attributes:
      taken: steps taken.
      square: running mean of the sum of a step's squared slopes, of those that had any.
      weight: what it has to be divided by, as it began with zero.
      entry: mean square of the numbers of a direction.
      rate: learning rate of the latest step.
      first: mean loss of the first steps.
      recent: running mean of the losses of steps.
      inner: the state of the optimiser.
    """

    taken: Int[Array, ""]
    square: Float[Array, ""]
    weight: Float[Array, ""]
    entry: Float[Array, ""]
    rate: Float[Array, ""]
    first: Float[Array, ""]
    recent: Float[Array, ""]
    inner: PyTree


class MeasuredWalk(NamedTuple):
    """What `measure_walk` finds.

    Attributes:
      walk: noise that raises the loss by the share, in units of the parameters.
      passes: forward passes that it took.
    """

    walk: float
    passes: int


def measure_walk(
    loss: Callable[..., Any],
    params: PyTree,
    batches: Callable[[int], PyTree],
    factory: Callable[..., ZerothOrder],
    *,
    share: float = SHARE,
    chance: float = math.inf,
    **knobs: Any,
) -> MeasuredWalk:
    r"""How much noise the parameters bear, along the directions of a method: `automatic`'s `walk`.

    .. math:: s: \quad \tfrac{1}{2} E\big[ f(x + s u) + f(x - s u) \big] - f(x) = \gamma f(x)

    For cross-entropy the left side is `s^2 / 2` times the trace of the curvature, which is the mean
    square of an example's gradient too: the noise of the estimate. A search from 0.05 on, by that
    square law, three times, and then a mean over three more batches.

    Args:
      loss: `(params, batch) -> scalar`, above zero.
      params: where the run begins.
      batches: the batch of a step, from its number.
      factory: see `automatic`.
      share: `gamma`.
      chance: see `automatic`; a share of the loss is one of no more than this.
      **knobs: see `automatic`; `num_directions` is of the run, six are drawn here.

    Returns:
      The noise, as a root mean square of the numbers of a parameter's change, and its cost.

    Raises:
      ValueError: the loss is not positive and finite at the start, or noise hardly adds to it.

    >>> import loren_jax
    >>> loss = lambda x, batch: 1.0 + 0.5 * jnp.mean(x**2)
    >>> found = measure_walk(loss, jnp.zeros(4000), lambda step: (), loren_jax.mezo, share=0.5)
    >>> round(found.walk, 1), found.passes
    (1.0, 78)
    """
    arguments.above_zero("chance", chance)
    own = _Own.of(factory, knobs | {"num_directions": SOME}, 1.0)
    signs = _signs(own.first.scheme)
    away = jnp.asarray([point != 0 for point in own.first.scheme.points])

    def excess(params: PyTree, batch: PyTree, scale: Array) -> tuple[Array, Array]:
        value_fn = bind(loss, batch)
        centre, state = value_fn(params), own.first.init(params)

        def at(sign: float) -> Array:
            moved = own.make(1.0, sign * scale / jnp.sqrt(own.entry(state, params)))
            _, after = update_of(moved)(None, state, params, value_fn=value_fn)
            losses = optax.tree.get(after, "losses")[:, : len(away)]
            return jnp.mean(losses, where=away[None])

        return centre, sum(map(at, signs)) / len(signs) - centre

    run, scale, found = jax.jit(excess), FIRST, []
    for number in range(SEARCHED_BATCHES):
        centre, above = map(float, run(params, batches(number), jnp.float32(scale)))
        if not 0 < centre < math.inf:
            raise ValueError(
                f"the loss is {centre:g} where the run begins, and a learning rate is found from a "
                "share of it: give one, or a walk, or add a constant to the loss."
            )
        centre = min(centre, chance)
        if number < SEARCHED:
            scale *= _factor(above, share * centre)
        else:
            found.append(above / centre)
    walk = scale * min(_factor(sum(found) / len(found), share), RAISED)
    if walk >= FIRST * MOST**SEARCHED:
        raise ValueError(f"noise of {walk:.3g} hardly adds to the loss: give a learning rate.")
    return MeasuredWalk(walk, search_passes(own.first.scheme))


def search_passes(scheme: Scheme) -> int:
    """Forward passes that `measure_walk` takes with a method of this scheme.

    >>> import loren_jax
    >>> search_passes(loren_jax.mezo(0.1).scheme)
    78
    """
    each = SOME * sum(point != 0 for point in scheme.points) * len(_signs(scheme))
    return (each + 1) * SEARCHED_BATCHES


def _signs(scheme: Scheme) -> tuple[float, ...]:
    """By what its points are multiplied, so that there is a mirrored one for each."""
    return (1.0,) if -1.0 in scheme.points else (1.0, -1.0)


def _factor(found: float, wanted: float) -> float:
    """By what noise must grow for so much more of the loss, if that grows as its square."""
    if not found < math.inf:
        return 1 / MOST
    return min(max(math.sqrt(wanted / max(found, 1e-9 * wanted)), 1 / MOST), MOST)


def automatic(
    factory: Callable[..., ZerothOrder],
    steps: int,
    *,
    walk: float,
    longest: float = LONGEST,
    chance: float = math.inf,
    **knobs: Any,
) -> ZerothOrder:
    r"""A method without a learning rate: its steps get a length, which falls to zero.

    .. math::

        \eta_t = \frac{\omega}{\sqrt T} \Big( 1 - \frac{t}{T} \Big) \frac{m_t}{s_t}, \qquad
        s_t^2 = \operatorname{mean}_{\tau < t} \sum_k c_k^2, \qquad
        m_t = \operatorname{clip}\Big( \frac{f_0 - f_t}{\gamma f_0}, 1, m_{\max} \Big)

    For `u_k` with numbers of mean square 1, `s` is the root mean square of the numbers of the
    estimate, the sum of `c_k u_k`. So at `m = 1` a step moves each parameter by `omega / sqrt(T)`
    and the noise of all T steps, most of which nothing ever corrects, by at most `omega / sqrt(3)`
    in all, whatever the scale of the loss, the number of parameters, of directions and of steps.
    Noise of the size of omega costs a share `gamma` of the loss, 0.15. If a run pays half of that
    and its loss falls by `D` at `m = 1`, `m D - m^2 gamma f_0 / 2` is largest at what was gained
    over what noise may cost: a fall of the running mean `f_t` by more than it lengthens the steps.

    The mean of squares forgets a twentieth with each step, that of losses a share that is ten over
    T, between a fifth and a fiftieth; the first step, of which nothing is known, is of length zero.
    All of it is a function of the state: journals, replays and resumed runs need nothing more.

    Where the update has a scale of its own, the length takes the place of `learning_rate`
    (`mezo_adam`, `adamezo`), or of each leaf's root mean square (`zo_muon`, `r_adazo`). Directions
    of another scale (`lozo`, `tezo`, ...) are measured in `init`.

    Args:
      factory: a method of this library, such as `loren_jax.mezo`, or one of the same arguments.
      steps: T, those of the whole run; behind them nothing moves any more.
      walk: `omega > 0`, in units of the parameters: how much noise they bear, as `measure_walk`
        says; of `input_subspace` that is too little, several times it is better.
      longest: `m_max >= 1`.
      chance: the loss of knowing nothing, such as `log C` nats for C classes: `f_0` is at most
        that. What a model that is too sure of itself unlearns first is no reason for longer steps.
      **knobs: the factory's other arguments.

    Returns:
      The optimiser, with an `AutomaticState`.

    Raises:
      ValueError: an argument out of range, or a learning rate among the knobs.

    >>> import loren_jax
    >>> optimizer = automatic(loren_jax.mezo, steps=200, num_directions=4, walk=3.0)
    >>> params, loss = jnp.asarray([1.0, -2.0]), lambda x: 1000 * jnp.sum(x**2)
    >>> step, state = loren_jax.train_step(loss, optimizer), optimizer.init(params)
    >>> for _ in range(200):
    ...     params, state = step(params, state)
    >>> bool(loss(params) < 50)
    True
    """
    arguments.count("steps", steps)
    arguments.positive("walk", walk)
    if not longest >= 1.0:
        raise ValueError(f"longest is {longest}: give 1 for steps that do not grow, or more.")
    arguments.above_zero("chance", chance)
    for name in RATES & knobs.keys():
        raise ValueError(f"{name} is given, but automatic chooses it: leave it out.")
    own = _Own.of(factory, knobs, walk)
    planned = _Planned(steps, longest, chance)

    def init(params: PyTree) -> AutomaticState:
        inner = own.first.init(params)
        # Arrays and not one, as a step overwrites what it is given.
        square, weight, rate, first, recent = (jnp.zeros((), jnp.float32) for _ in range(5))
        taken, entry = jnp.zeros((), jnp.int32), own.entry(inner, params)
        return AutomaticState(taken, square, weight, entry, rate, first, recent, inner)

    def rate_of(state: AutomaticState) -> Array:
        length = own.walk * planned.share(state)
        rate = length if own.unit is None else own.rate_of(length, state)
        return jnp.maximum(rate, NOTHING)

    def after(state: AutomaticState, rate: Array, inner: PyTree) -> AutomaticState:
        square = own.square(inner, state.taken)
        share = jnp.where(square > 0, FORGETTING, 0.0)
        mix = lambda old, new: old + share * (new - old)
        taken = jnp.asarray(optax.safe_increment(state.taken))
        mean, weight = mix(state.square, square), mix(state.weight, 1.0)
        losses = planned.losses_after(state, inner)
        return AutomaticState(taken, mean, weight, state.entry, rate, *losses, inner)

    def update(updates, state, params=None, **sources):
        rate = rate_of(state)
        updates, inner = update_of(own.make(rate))(updates, state.inner, params, **sources)
        return updates, after(state, rate, inner)

    def apply(params, state, **sources):
        rate = rate_of(state)
        params, inner = form(own.make(rate), "apply")(params, state.inner, **sources)
        return params, after(state, rate, inner)

    asked: Any = form(own.first, "ask")

    def ask(params, state, direction, point):
        return asked(params, state.inner, direction, point)

    again = lambda axes: automatic(
        factory, steps, walk=walk, longest=longest, chance=chance, **{**knobs, "matrix_axes": axes}
    )
    whole = Update(
        update,
        ask=ask if asked else None,
        apply=form(own.first, "apply") and apply,
        scheme=own.first.scheme,
        passes=own.first.passes,
        estimate=form(own.first, "estimate"),
        rebuild=None if knobs.get("matrix_axes") is not None else again,
    )
    return ZerothOrder(init, whole)


class _Planned(NamedTuple):
    """How long the steps of a run are, as shares of its walk."""

    steps: int
    longest: float
    chance: float

    def share(self, state: AutomaticState) -> Array:
        """Of the next step."""
        left = jnp.maximum(0.0, 1.0 - state.taken.astype(jnp.float32) / self.steps)
        first = jnp.minimum(state.first, self.chance)
        borne, gained = SHARE * first, first - state.recent
        growth = jnp.where(borne > 0, gained / jnp.where(borne > 0, borne, 1.0), 0.0)
        return self.steps**-0.5 * left * jnp.clip(growth, 1.0, self.longest)

    def losses_after(self, state: AutomaticState, inner: PyTree) -> tuple[Array, Array]:
        """The first and the recent loss, with those of the latest step that are finite."""
        losses = optax.tree.get(inner, "losses").astype(jnp.float32)
        finite, early = jnp.isfinite(losses), state.taken < BEGINNING
        window = min(max(self.steps / 10, BEGINNING), 50)
        share = jnp.where(early, 1.0 / (1.0 + state.taken), 1.0 / window)
        mixed = state.recent + share * (jnp.mean(losses, where=finite) - state.recent)
        recent = jnp.where(jnp.any(finite), mixed, state.recent)
        return jnp.where(early, recent, state.first), recent


class _Own(NamedTuple):
    """What a method needs to be told of lengths.

    Attributes:
      make: from a length or a rate, and maybe a perturbation scale, to the optimiser.
      first: one of rate 1, for all that no rate changes.
      walk: omega.
      unit: `"slopes"`, `"directions"` or None, as of `Entry`.
      scale: the perturbation scale, a number or a schedule.
      gain: what momentum multiplies the rate by.
    """

    make: Callable[..., ZerothOrder]
    first: ZerothOrder
    walk: float
    unit: str | None
    scale: Any
    gain: float

    @classmethod
    def of(cls, factory: Callable[..., ZerothOrder], knobs: Any, walk: Any) -> "_Own":
        entry = METHODS.get(getattr(factory, "__name__", ""))
        entry = entry if entry and entry.factory is factory else METHODS["mezo"]
        given = {n: p.default for n, p in inspect.signature(factory).parameters.items()} | knobs
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
        )

    def rate_of(self, length: Array, state: AutomaticState) -> Array:
        """The rate of a step of that length; zero while nothing is known."""
        seen = state.taken * optax.tree.get(state.inner, "losses").shape[0]
        square = state.entry * state.square / jnp.maximum(state.weight, 1e-9)
        known = square > 0
        rate = length * self.gain * seen / (seen + TRUST)
        return jnp.where(known, rate / jnp.sqrt(jnp.where(known, square, 1.0)), 0.0)

    def square(self, inner: PyTree, step: Array) -> Array:
        """The sum of the squared slopes of the latest step."""
        losses = optax.tree.get(inner, "losses")[:, : len(self.first.scheme.points)]
        slope = self.first.scheme.weigh(losses, arguments.value_at(self.scale, step)).slope
        return jnp.sum(slope**2).astype(jnp.float32)

    def entry(self, inner: PyTree, params: PyTree) -> Array:
        """Mean square of a direction's numbers: of the estimate from made-up losses."""
        if self.unit != "directions":
            return jnp.ones((), jnp.float32)
        losses = optax.tree.get(inner, "losses")
        scheme, estimate = self.first.scheme, self.first.estimate
        made = _alternating_losses(scheme, losses.shape)
        estimated, after = estimate.update(None, estimate.init(params), params, losses=made)
        numbers = sum(leaf.size for leaf in jax.tree.leaves(params))
        total = optax.tree.norm(jax.tree.map(jnp.float32, estimated), squared=True)
        return total / numbers / self.square(after, jnp.zeros((), jnp.int32))


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
