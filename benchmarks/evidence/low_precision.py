"""How well two ways of evaluation find the slope of a loss whose weight is bfloat16.

    python -m benchmarks low_precision

Prints, for a weight that is stored as bfloat16 and for one that the loss casts to it, the slopes
along three rank-1 directions: of the loss in exact arithmetic, as perturbed evaluation finds them,
and as copies of the weight do that were perturbed and rounded.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import loren_jax

SCALE = 1e-3
X = jax.random.normal(jax.random.key(0), (8, 16)).astype(jnp.bfloat16)
W = (jax.random.normal(jax.random.key(1), (16, 16)) / 4).astype(jnp.bfloat16)


def loss(params):
    """Half the squared length of a product of bfloat16 matrices, summed in float32."""
    kernel = params["kernel"].astype(jnp.bfloat16)
    return jnp.sum(jnp.dot(X, kernel, preferred_element_type=jnp.float32) ** 2) / 2


def exact_slopes():
    """Of the directions of the first step, by the gradient."""
    params = {"kernel": W.astype(jnp.float32)}
    gradient = X.astype(jnp.float32).T @ (X.astype(jnp.float32) @ params["kernel"])
    optimizer = loren_jax.mezo(1.0, num_directions=3, rank=1, perturbation_scale=1.0)
    state = optimizer.init(params)
    directions = [optimizer.ask(params, state, k, 0)["kernel"] - params["kernel"] for k in range(3)]
    return np.array([float(jnp.sum(gradient * direction)) for direction in directions])


def found_slopes(dtype, evaluation=None):
    """Of the same directions, by central differences of the loss; the weight is of this type."""
    params = {"kernel": W.astype(dtype)}
    optimizer = loren_jax.mezo(
        1.0, num_directions=3, rank=1, perturbation_scale=SCALE, evaluation=evaluation
    )
    _, state = optimizer.update(None, optimizer.init(params), params, value_fn=loss)
    losses = np.asarray(optax.tree.get(state, "losses"), np.float64)
    return (losses[:, 0] - losses[:, 1]) / (2 * SCALE)


def main():
    """Prints the table."""
    line = lambda name, slopes: print(f"{name:24}", *(f"{slope:8.1f}" for slope in slopes))
    line("exact", exact_slopes())
    for name, dtype in (("stored", jnp.bfloat16), ("cast", jnp.float32)):
        line(f"{name}, default", found_slopes(dtype))
        line(f"{name}, copies", found_slopes(dtype, loren_jax.evaluation.materialised))


if __name__ == "__main__":
    main()
