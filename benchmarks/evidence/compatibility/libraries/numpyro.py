"""Densities: NumPyro."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
from numpyro.infer import SVI, Trace_ELBO, autoguide
from numpyro.infer.util import log_density, potential_energy

from benchmarks.evidence.compatibility.cases import Cases

cases = Cases("numpyro")
X = np.random.RandomState(0).randn(32, 3).astype("f")
Y = X @ np.array([1, -1, 0.5], "f")


def model():
    """A linear regression."""
    w = numpyro.sample("w", dist.Normal(0, 1).expand([3]).to_event(1))
    s = numpyro.sample("s", dist.HalfNormal(1.0))
    numpyro.sample("y", dist.Normal(X @ w, s + 0.1), obs=Y)


density = lambda p: log_density(model, (), {}, {"w": p["w"], "s": jnp.exp(p["s"])})[0]
losses = {
    "log_density": lambda p: -density(p) / 32,
    "potential_energy, unconstrained": lambda p: potential_energy(model, (), {}, p) / 32,
}
cases.of({"w": jnp.zeros(3), "s": jnp.float32(1)}, losses)


@cases
def variational():
    """SVI, ELBO, one key."""
    guide, key = autoguide.AutoNormal(model), jax.random.key(0)
    svi = SVI(model, guide, optax.adam(1e-2), Trace_ELBO())
    params = svi.optim.get_params(svi.init(key).optim_state)
    return params, lambda p: Trace_ELBO().loss(key, svi.constrain_fn(p), model, guide) / 32
