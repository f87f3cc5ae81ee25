"""A hyperparameter through an inner optimisation: JAXopt."""

import jax
import jax.numpy as jnp
import jaxopt

from benchmarks.evidence.compatibility.cases import Cases

cases = Cases("jaxopt")
X = jax.random.normal(jax.random.key(0), (20, 5))
Y = X @ jnp.ones(5)


def inner(p):
    """Held-out error of a ridge regression."""
    own = lambda w, log: jnp.mean((X[:10] @ w - Y[:10]) ** 2) + jnp.exp(log) * jnp.sum(w**2)
    found = jaxopt.LBFGS(own, maxiter=20).run(jnp.zeros(5), p["log"]).params
    return jnp.mean((X[10:] @ found - Y[10:]) ** 2)


cases.of({"log": jnp.float32(0)}, {"LBFGS, strength of a penalty": inner}, scale=0.1)
