"""A learning rate that nobody chooses: steps of a planned length, measured by their own losses."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from loren_jax import arguments
from loren_jax.lengths import RATES, Lengths
from loren_jax.schemes import usable
from loren_jax.transformation import Update, ZerothOrder, form, update_of
from loren_jax.types import PyTree
from loren_jax.walk import LONGEST, SHARE

NOTHING = 1e-37
"""The rate of a step of no length, as factories take none of zero where they see it."""
BEGINNING = 5
"""Steps whose mean loss is the first one."""
FORGETTING = 0.05
"""Weight of the newest step in the running mean of squared slopes."""


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
        says.
      longest: `m_max >= 1`, which `measure_walk` says too.
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
    for name in RATES & knobs.keys():
        raise ValueError(f"{name} is given, but automatic chooses it: leave it out.")
    arguments.positive("walk", walk)
    own = Lengths.of(factory, knobs, walk)
    arguments.count("steps", steps)
    if not longest >= 1.0:
        raise ValueError(f"longest is {longest}: give 1 for steps that do not grow, or more.")
    arguments.above_zero("chance", chance)
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


def require_plan(
    factory: Callable[..., ZerothOrder], steps: int, *, chance: float = math.inf, **knobs: Any
) -> ZerothOrder:
    """What `automatic` makes at a walk of one, before any is looked for.

    Args:
      factory: see `automatic`, and there for the others.
      steps: of a run that is to begin.
      chance: see there.
      **knobs: see there.

    Returns:
      The optimiser, which says what a step costs.

    Raises:
      ValueError: see `automatic`; or a run of one step would move nothing.
    """
    optimizer = automatic(factory, steps, walk=1.0, chance=chance, **knobs)
    if steps == 1 and Lengths.of(factory, knobs, 1.0).unit is not None:
        raise ValueError(
            "steps is 1, and without a learning rate the first step only measures how long the "
            "next may be: give 2 steps or more, or a learning rate."
        )
    return optimizer


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
        """The first and the recent loss, with those of the latest step that count."""
        # The state's own mean: of mezo_svrg's losses some are zeros, which nobody asked for.
        loss = optax.tree.get(inner, "loss").astype(jnp.float32)
        counted, unknown = usable(loss), state.first == 0
        early = (state.taken < BEGINNING) | unknown
        window = min(max(self.steps / 10, BEGINNING), 50)
        share = jnp.where(early, 1.0 / (1.0 + state.taken), 1.0 / window)
        mixed = state.recent + jnp.where(unknown, 1.0, share) * (loss - state.recent)
        recent = jnp.where(counted, mixed, state.recent)
        return jnp.where(early, recent, state.first), recent
