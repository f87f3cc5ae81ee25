"""Trees and leaves of all kinds."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import mean_square, normal

cases = Cases("jax")
X = normal(0, 8, 16)
odd = {"scalar": jnp.float32(1), "empty": jnp.zeros((0, 4)), "vector": jnp.ones(16)}
losses = {
    "scalar, empty, vector": lambda p: (
        mean_square(p["scalar"] * X * p["vector"]) + jnp.sum(p["empty"])
    )
}
cases.of(odd, losses)
thin = {"a": normal(1, 1, 16), "b": normal(2, 16, 1), "c": normal(3, 1, 1)}
losses = {"axes of one": lambda p: mean_square(X * p["a"]) + mean_square(X @ p["b"] @ p["c"])}
cases.of(thin, losses)
idle = {"a": normal(1, 16, 16), "unused": normal(2, 16, 16)}
cases.of(idle, {"a leaf without a use": lambda p: mean_square(X @ p["a"])})
plain = {"a": np.asarray(normal(1, 16, 16)), "s": np.float32(1)}
cases.of(plain, {"NumPy's arrays and numbers": lambda p: mean_square(X @ p["a"] * p["s"])})
nested = ({"a": normal(1, 16, 16), "none": None}, (normal(2, 16),))
cases.of(nested, {"tuples, None": lambda p: mean_square(X @ p[0]["a"] + p[1][0])})
keyed = {"key": jax.random.key(3), "w": normal(1, 16, 16)}
noisy = lambda p: X @ p["w"] + jax.random.normal(p["key"], (16,))
losses = {"a random key, frozen": lambda p: mean_square(noisy(p))}
cases.of(keyed, losses, mask=lambda path: path == "w")
counted = {"count": jnp.array([16777217]), "w": normal(1, 16, 16)}
losses = {"whole numbers, frozen": lambda p: mean_square(X @ p["w"] + p["count"] % 2)}
cases.of(counted, losses, mask=lambda path: path == "w")
