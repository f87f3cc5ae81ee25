"""The compiled programs of the contract suite.

Nearly all of the suite's time is spent on compiling, so one program serves many promises: `runner`
takes any number of steps from any state.
"""

import functools

import chex
import jax
import numpy as np
import optax
from methods import METHODS, PARAMS, loss


def build(method, **changes):
    knobs = {"perturbation_scale": 1e-2} | method.knobs | changes
    return method.make(knobs.pop("learning_rate", method.learning_rate), **knobs)


def stepper(optimizer, value_fn=loss):
    def step(params, state):
        # Only MeZO-SVRG takes the second function; the others take it and look away.
        updates, state = optimizer.update(
            None, state, params, value_fn=value_fn, full_value_fn=value_fn
        )
        return optax.apply_updates(params, updates), state

    return step


def looped(optimizer, value_fn=loss, options=None):
    """`(params, state, number) -> (params, state)`, compiled once for every number of steps."""
    step = stepper(optimizer, value_fn)
    body = lambda _, carry: step(*carry)
    return jax.jit(
        lambda params, state, number: jax.lax.fori_loop(0, number, body, (params, state)),
        compiler_options=options,
    )


@functools.cache
def runner(name):
    return looped(build(METHODS[name]))


@functools.cache
def started(name, key=0):
    return jax.jit(build(METHODS[name], key=key).init)(PARAMS)


def absorbing(optimizer, options=None):
    """A step from losses alone, `(params, state, losses) -> (params, state, updates)`."""

    @functools.partial(jax.jit, compiler_options=options)
    def absorb(params, state, losses):
        updates, state = optimizer.update(None, state, params, losses=losses)
        return optax.apply_updates(params, updates), state, updates

    return absorb


@functools.cache
def absorber(name):
    return absorbing(build(METHODS[name]))


@functools.cache
def trained(name, steps):
    return runner(name)(PARAMS, started(name), steps)


def name_of(method):
    return next(name for name, row in METHODS.items() if row is method)


def some_losses(state):
    """Whose differences along the directions differ too."""
    shape = optax.tree.get(state, "losses").shape
    return np.square(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape) * np.float32(1e-3)


def plain(tree):
    """The tree with typed keys as numbers, so that NumPy can compare."""
    return optax.tree.unwrap_random_key_data(tree)


def assert_equal(a, b):
    chex.assert_trees_all_equal(plain(a), plain(b))
