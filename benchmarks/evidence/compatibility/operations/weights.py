"""Weights that are made of parameters: normalised, masked, joined, multiplied."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import mean_square, normal

cases = Cases("jax")
X, TEXTS = normal(0, 8, 16), normal(4, 2, 8, 16)
KERNEL = {"kernel": normal(1, 16, 16)}


def spectral(p):
    """One step of the power iteration."""
    unit = lambda v: v / jnp.linalg.norm(v)
    return p["kernel"] / jnp.linalg.norm(p["kernel"] @ unit(p["kernel"].T @ jnp.ones(16)))


def pruned(p):
    """The largest fourth."""
    size = jnp.abs(p["kernel"])
    return jnp.where(size >= lax.top_k(size.ravel(), 64)[0][-1], p["kernel"], 0)


def standardised(p):
    """Column by column."""
    return (p["kernel"] - p["kernel"].mean(0)) / (p["kernel"].std(0) + 1e-5)


def ravelled(p):
    """All in one vector and back."""
    flat, back = ravel_pytree(p)
    return X @ back(flat)["kernel"] + back(flat)["bias"]


def rolled(p):
    """And padded."""
    wide = jnp.pad(X, ((0, 0), (0, 2))) @ jnp.pad(p["kernel"], ((0, 2), (0, 0)))
    return mean_square(X @ jnp.roll(p["kernel"][::-1], 3, axis=0)) + mean_square(wide)


square = lambda p: sum(jnp.sum(w**2) for w in jax.tree.leaves(p))
clipped = lambda p: p["kernel"] * jnp.minimum(1, 3 / jnp.linalg.norm(p["kernel"]))
hot = lambda p: X @ (p["kernel"] / jnp.sqrt(16.0)), lambda p: X @ (-p["kernel"] * jnp.max(X))
target = lambda p: lax.stop_gradient(jnp.tanh(X @ p["kernel"].T))
losses = {
    "spectral norm, power iteration": lambda p: mean_square(X @ spectral(p)),
    "weight standardisation": lambda p: mean_square(X @ standardised(p)),
    "L2 penalty": lambda p: mean_square(X @ p["kernel"]) + 1e-3 * square(p),
    "jnp.where": lambda p: mean_square(X @ jnp.where(jnp.eye(16) > 0, p["kernel"], 0)),
    "times a mask": lambda p: mean_square(X @ (p["kernel"] * jnp.tri(16))),
    "top_k pruning by size": lambda p: mean_square(X @ pruned(p)),
    "flip, roll, pad": rolled,
    "norm of all clipped": lambda p: mean_square(X @ clipped(p)),
    "w @ w.T": lambda p: mean_square(X @ (p["kernel"] @ p["kernel"].T)),
    "by a traced temperature": lambda p: mean_square(hot[0](p)) + mean_square(hot[1](p)),
    "stop_gradient, a target network": lambda p: jnp.mean((X @ p["kernel"] - target(p)) ** 2),
    "optimization_barrier": lambda p: mean_square(X @ lax.optimization_barrier(p)["kernel"]),
    "sort": lambda p: mean_square(jnp.sort(p["kernel"], 0)),
    "cumsum of softplus": lambda p: mean_square(X @ jnp.cumsum(jax.nn.softplus(p["kernel"]), 0)),
}
cases.of(KERNEL, losses)
columns = {"kernel": normal(1, 16, 16), "scale": jnp.ones(16)}
norms = lambda p: p["kernel"] / jnp.linalg.norm(p["kernel"], axis=0)
losses = {
    "weight norm": lambda p: mean_square(X @ (p["scale"] * norms(p))),
    "a scale per column": lambda p: mean_square(X @ (p["kernel"] * p["scale"])),
}
cases.of(columns, losses)
adapters = {"W": normal(1, 16, 16), "A": normal(2, 16, 2), "B": normal(3, 2, 16)}
cases.of(adapters, {"W + A @ B": lambda p: mean_square(X @ (p["W"] + p["A"] @ p["B"]))})
gate = {"kernel": normal(1, 16, 16), "gate": jnp.float32(0.5)}
cases.of(gate, {"times a scalar leaf": lambda p: mean_square(X @ (p["kernel"] * p["gate"]))})
biased = {"kernel": normal(1, 16, 16), "bias": jnp.zeros(16)}
cases.of(biased, {"ravel_pytree": lambda p: mean_square(ravelled(p))})
two = {"a": normal(1, 16, 16), "b": normal(2, 16, 16)}
cases.of(two, {"product of two weights": lambda p: mean_square(X @ (p["a"] @ p["b"]))})
three = {"a": normal(1, 16, 8), "b": normal(2, 16, 8), "c": normal(3, 8, 4)}
contracted = lambda p: jnp.einsum("bi,ir,bj,jr,ro->bo", X, p["a"], X, p["b"], p["c"])
cases.of(three, {"einsum of three weights": lambda p: mean_square(contracted(p))})
small = {"a": normal(1, 4, 4), "b": normal(2, 4, 4)}
cases.of(small, {"kron": lambda p: mean_square(X @ jnp.kron(p["a"], p["b"]))})
cases.of(
    {"core": normal(1, 4, 4, 4, 4)},
    {
        "core of a tensor train": lambda p: mean_square(
            jnp.einsum("bij,ijkl->bkl", X.reshape(8, 4, 4), p["core"])
        )
    },
)
prefix = {"prefix": normal(1, 4, 16), "kernel": normal(2, 16, 16)}
before = lambda p: jnp.concatenate([jnp.broadcast_to(p["prefix"], (2, 4, 16)), TEXTS], 1)
cases.of(prefix, {"prefix of tokens": lambda p: mean_square(before(p) @ p["kernel"])})
