"""Flows: Distrax."""

import distrax
import jax
import jax.numpy as jnp

from benchmarks.evidence.compatibility.cases import Cases

cases = Cases("distrax")
X = jax.random.normal(jax.random.key(0), (16, 4)) * 2 + 1


def flow(p):
    """Negative log-likelihood."""
    base = distrax.MultivariateNormalDiag(jnp.zeros(4), jnp.ones(4))
    map_ = distrax.Block(distrax.ScalarAffine(p["shift"], log_scale=p["log_scale"]), 1)
    return -jnp.mean(distrax.Transformed(base, map_).log_prob(X))


cases.of({"log_scale": jnp.zeros(4), "shift": jnp.zeros(4)}, {"Transformed, ScalarAffine": flow})
