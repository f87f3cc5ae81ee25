"""Differential equations: Diffrax."""

import diffrax as dfx
import jax
import jax.numpy as jnp

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import normal

cases = Cases("diffrax")
TIMES = jnp.linspace(0, 1, 5)
TARGET = jnp.stack([jnp.cos(TIMES), jnp.sin(TIMES)], 1)
PARAMS = {"up": normal(1, 2, 16), "down": normal(2, 16, 2)}
ADAPTIVE = dfx.PIDController(1e-4, 1e-5)


def field(p):
    """A network as a vector field."""
    return lambda t, y, args: jnp.tanh(y @ p["up"]) @ p["down"]


def distance(p, solver, control, **own):
    """Of the path from a circle's."""
    given = {"saveat": dfx.SaveAt(ts=TIMES), "stepsize_controller": control, **own}
    path = dfx.diffeqsolve(dfx.ODETerm(field(p)), solver, 0.0, 1.0, 0.1, jnp.ones(2), **given)
    return jnp.mean((path.ys - TARGET) ** 2)


def noisy(p):
    """Under multiplicative noise."""
    motion = dfx.VirtualBrownianTree(0.0, 1.0, 1e-3, shape=(2,), key=jax.random.key(0))
    noise = dfx.ControlTerm(lambda t, y, args: jnp.diag(0.1 * y), motion)
    terms = dfx.MultiTerm(dfx.ODETerm(field(p)), noise)
    path = dfx.diffeqsolve(terms, dfx.Euler(), 0.0, 1.0, 0.05, jnp.ones(2))
    return jnp.mean(path.ys**2)


def bounce(p):
    """Time of a fall, which ends the path."""
    fall = dfx.ODETerm(lambda t, y, args: jnp.array([y[1], -9.8 + p["push"]]))
    event = dfx.Event(lambda t, y, args, **_: y[0] < 0)
    start = jnp.array([10.0, 0.0])
    path = dfx.diffeqsolve(fall, dfx.Tsit5(), 0.0, 5.0, 0.1, start, event=event)
    return (path.ts[-1] - 2.0) ** 2


constant = dfx.ConstantStepSize()
backward = {"adjoint": dfx.BacksolveAdjoint()}
losses = {
    "neural ODE, Tsit5, adaptive": lambda p: distance(p, dfx.Tsit5(), ADAPTIVE),
    "BacksolveAdjoint, Heun": lambda p: distance(p, dfx.Heun(), constant, **backward),
    "Kvaerno3, implicit": lambda p: distance(p, dfx.Kvaerno3(), ADAPTIVE),
    "SDE, Euler, VirtualBrownianTree": noisy,
}
cases.of(PARAMS, losses)
cases.of({"push": jnp.float32(0)}, {"event, time of a fall": bounce}, scale=2.0)
