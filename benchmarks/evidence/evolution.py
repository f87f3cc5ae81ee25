"""Evolution strategies of evosax as Optax transformations, measured like all other methods."""

import functools
import importlib.util
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from benchmarks.evidence.methods import Method

POPULATION = 6


class EvolutionState(NamedTuple):
    """State of an evolution strategy.

    Attributes:
      key: of the next generation.
      inner: what evosax keeps.
    """

    key: jax.Array
    inner: Any


def installed() -> bool:
    """Whether evosax is there."""
    return importlib.util.find_spec("evosax") is not None


def evolution(strategy: Any, knobs: Any, key: Any) -> optax.GradientTransformationExtraArgs:
    """An evosax strategy whose mean is the parameters.

    Args:
      strategy: `solution -> algorithm`, of a pytree like the parameters.
      knobs: `default parameters -> parameters` of the algorithm.
      key: a seed.

    Returns:
      An `optax.GradientTransformationExtraArgs`; `update` takes `value_fn`.
    """

    def init(params: Any) -> EvolutionState:
        algorithm = strategy(params)
        first, rest = jax.random.split(jax.random.key(key))
        inner = algorithm.init(first, params, knobs(algorithm.default_params))
        # Its counter starts as a Python number, which a scan does not carry.
        return EvolutionState(rest, jax.tree.map(jnp.asarray, inner))

    def update(updates: Any, state: Any, params: Any = None, *, value_fn: Any = None, **extra: Any):
        del updates, extra
        algorithm = strategy(params)
        settings = knobs(algorithm.default_params)
        first, second, rest = jax.random.split(state.key, 3)
        population, inner = algorithm.ask(first, state.inner, settings)
        fitness = jax.lax.map(value_fn, population)
        inner, _ = algorithm.tell(second, population, fitness, inner, settings)
        mean = algorithm.get_mean(inner)
        return jax.tree.map(jnp.subtract, mean, params), EvolutionState(rest, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def open_es(rate: Any, key: Any, spread: float = 1e-3) -> optax.GradientTransformationExtraArgs:
    """Open-ES with mirrored pairs, centred ranks and plain descent of learning rate `rate`."""
    from evosax.algorithms import Open_ES

    def strategy(params: Any) -> Any:
        return Open_ES(
            population_size=POPULATION,
            solution=params,
            optimizer=optax.sgd(rate),
            std_schedule=optax.constant_schedule(spread),
        )

    return evolution(strategy, lambda defaults: defaults, key)


def snes(
    spread: Any, key: Any, population: int = POPULATION
) -> optax.GradientTransformationExtraArgs:
    """SNES at evosax's rates; what is tuned is the spread that it starts from."""
    from evosax.algorithms import SNES

    strategy = lambda params: SNES(population_size=population, solution=params)
    return evolution(strategy, lambda defaults: defaults.replace(std_init=spread), key)


def evolution_methods() -> dict[str, Method]:
    """The strategies by name, or none where evosax is not installed."""
    if not installed():
        return {}
    passes = lambda step: POPULATION
    return {"evosax Open-ES": Method(open_es, passes), "evosax SNES": Method(snes, passes)}


def usual_snes(size: int) -> dict[str, Method]:
    """SNES with the population that its authors advise for so many numbers, or nothing."""
    if not installed():
        return {}
    population = 4 + int(3 * math.log(size))
    make = functools.partial(snes, population=population)
    return {f"evosax SNES, population {population}": Method(make, lambda step: population)}
