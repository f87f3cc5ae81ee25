"""Float64 NumPy twins of the low-rank methods, written from the formulas, and a run beside them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from loren_jax import noise
from loren_jax.directions import LowRank

PARAMS = {
    "bias": jnp.sin(jnp.arange(3.0)),
    "embedding": jnp.cos(jnp.arange(8.0)).reshape(4, 2),
    "kernel": jnp.sin(jnp.arange(24.0)).reshape(2, 4, 3),
}
"""A vector; a matrix with its fan-in last; two layers with their fan-in first."""

WEIGHTS = jax.tree.map(lambda x: jnp.cos(3 * x + 1), PARAMS)
EPSILON = 1e-2


def value_fn(params):
    """Linear, so that a loss shows the direction it was queried along."""
    return sum(jnp.sum(params[name] * WEIGHTS[name]) for name in PARAMS)


def matrices(name, leaf):
    """Fan-out x fan-in matrices, float64: a list of layers; a vector is a list of one array."""
    leaf = np.asarray(leaf, np.float64)
    return list(leaf.swapaxes(-1, -2)) if name == "kernel" else [leaf]


def evaluated(directions, state, params, number):
    """The directions of the step that `state` is about to take, and their state in that step."""
    step = noise.fold(noise.from_words(state.key), state.count)
    learned = directions.refresh(state.directions, params, noise.fold_name(step, "refresh"))
    draw = lambda key: directions.draw(learned, params, key)
    return jax.vmap(draw)(noise.fold_all(step, (number,))), learned


def factors(direction):
    """`(left, right)` of each layer with K leading, or the one array of a vector; float64."""
    if not isinstance(direction, LowRank):
        return [np.asarray(direction.array, np.float64)]
    pair = [np.asarray(x, np.float64) for x in (direction.left, direction.right)]
    flat = [x.reshape(len(x), -1, *x.shape[-2:]) for x in pair]
    return [tuple(x[:, layer] for x in flat) for layer in range(flat[0].shape[1])]


def follow(tx, directions, oracle, slopes, *, number, steps, weigh=None):
    """Runs `tx` and the oracle side by side, comparing losses and parameters at every step.

    `oracle(step, name, layer, x, y, slopes, state)` is the new x of one matrix or vector, where `y`
    is the `(left, right)` of the evaluated directions or their arrays, and `state` is the
    directions' state in this step. `weigh` makes the slopes, if not `slopes` itself does.
    """
    points = {two_sided: (1.0, -1.0), one_sided: (0.0, 1.0)}[slopes]
    params, state = PARAMS, tx.init(PARAMS)
    look = jax.jit(lambda s, p: evaluated(directions, s, p, number))
    update = jax.jit(lambda s, p: tx.update(None, s, p, value_fn=value_fn))
    x = {name: matrices(name, leaf) for name, leaf in PARAMS.items()}
    for step in range(steps):
        drawn, learned = look(state[0], params)
        y = {name: factors(drawn[name]) for name in PARAMS}
        updates, state = update(state, params)
        losses = np.asarray(optax.tree.get(state, "losses"), np.float64)
        np.testing.assert_allclose(losses, queried(x, y, points), atol=2e-6, err_msg=f"step {step}")
        c = (weigh or slopes)(losses)
        for name, layers in x.items():
            x[name] = [
                oracle(step, name, layer, one, y[name][layer], c, learned)
                for layer, one in enumerate(layers)
            ]
        params = optax.apply_updates(params, updates)
        for name, expected in x.items():
            actual = np.stack(matrices(name, params[name]))
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5, err_msg=f"{step}")
    return params, state


def queried(x, y, points):
    """The losses at `x + EPSILON * point * y_k`, (K, S)."""
    along, centre = 0.0, 0.0
    for name, layers in x.items():
        weights = matrices(name, WEIGHTS[name])
        for one, a, drawn in zip(layers, weights, y[name], strict=True):
            dense = np.einsum("kmr,knr->kmn", *drawn) if isinstance(drawn, tuple) else drawn
            along = along + np.tensordot(dense, a, a.ndim)
            centre = centre + np.sum(a * one)
    return centre + EPSILON * np.outer(along, points)


def two_sided(losses):
    return (losses[:, 0] - losses[:, 1]) / (2 * EPSILON * len(losses))


def one_sided(losses):
    return (losses[:, 1] - losses[:, 0]) / (EPSILON * len(losses))


def descend(x, gradient, eta, decay=0.0):
    return x - eta * (gradient + decay * x)


def spsa(y, c):
    """`sum_k c_k y_k` of dense vectors or of `left @ right^T`."""
    if isinstance(y, tuple):
        return sum(ck * left @ right.T for ck, left, right in zip(c, *y, strict=True))
    return np.tensordot(c, y, 1)


def lozo_m_factor(m, u, c, beta, *, first, v_old=None, v_new=None):
    """The momentum of LOZO-M: of the factor U, moved where V was renewed."""
    step = sum(ck * uk for ck, uk in zip(c, u, strict=True))
    if first:
        return step
    if v_old is not None:
        m = m @ v_old.T @ v_new / len(v_new)
    return beta * m + (1 - beta) * step


def subzero_matrix(u, z, v):
    """`sqrt(mn) / r U z V^T`."""
    return np.sqrt(len(u) * len(v)) / z.shape[0] * u @ z @ v.T


def tezo_matrix(u, tau, v):
    """`sum_s tau_s u_s v_s^T`, term by term."""
    return sum(t * np.outer(a, b) for t, a, b in zip(tau, u.T, v.T, strict=True))


def msign(g):
    """Five Newton-Schulz steps, on the singular values: each is an odd polynomial of them."""
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    s = s / np.linalg.norm(s)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ np.diag(s) @ vt


def power(g, v):
    """A power iteration from v, and the columns of the result normalised; returns U, V."""
    v = np.linalg.qr(g.T @ (g @ v))[0]
    u = g @ v
    return u / np.linalg.norm(u, axis=0), v


def leading(g, k):
    """The matrix sign of the k leading singular directions."""
    u, _, vt = np.linalg.svd(g, full_matrices=False)
    return u[:, :k] @ vt[:k]
