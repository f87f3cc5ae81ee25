"""Random small programs: perturbed evaluation equals the materialised one, whatever they do."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from loren_jax import noise
from loren_jax.directions import LowRank, Seeded
from loren_jax.directions.matrices import MatrixView
from loren_jax.evaluation import materialised, perturbed

N = 6
VIEW, STACKED = MatrixView((N, N), (0,), (1,)), MatrixView((3, N, N), (1,), (2,))

# Each step takes (hidden (4, N), w (N, N), stack (3, N, N)) and returns the same three.
STEPS = {
    "multiply": lambda h, w, s: (jnp.tanh(h @ w), w, s),
    "multiply transposed": lambda h, w, s: (jnp.tanh(h @ w.T), w, s),
    "left": lambda h, w, s: (jnp.tanh((w @ h.T).T), w, s),
    "rows": lambda h, w, s: (h + w[jnp.asarray([0, 2, 2, 5])], w, s),
    "transpose": lambda h, w, s: (h, w.T, s),
    "scale": lambda h, w, s: (h, -0.5 * w, s / 1.5),
    "add": lambda h, w, s: (h, w + 0.1, s),
    "tanh": lambda h, w, s: (h, jnp.tanh(w), s),
    "scan": lambda h, w, s: (jax.lax.scan(lambda c, p: (jnp.tanh(c @ p), None), h, s)[0], w, s),
    "scan both": lambda h, w, s: (
        jax.lax.scan(lambda c, p: (jnp.tanh(c @ p + c @ w), None), h, s)[0],
        w,
        s,
    ),
    "layer": lambda h, w, s: (h, s[1], s),
    "flip stack": lambda h, w, s: (h, w, s[::-1]),
    "swap": lambda h, w, s: (h, w, jnp.swapaxes(s, 1, 2)),
    "restack": lambda h, w, s: (h, w, jnp.stack([s[2], w, s[0]])),
    "reshape": lambda h, w, s: (h + (h @ w.reshape(N, 2, 3).reshape(N, N)), w, s),
    "bfloat16": lambda h, w, s: (h, w.astype(jnp.bfloat16).astype(jnp.float32), s),
    "cond": lambda h, w, s: (
        jax.lax.cond(h[0, 0] > 0, lambda: h @ w, lambda: h @ s[0]),
        w,
        s,
    ),
    "loop": lambda h, w, s: (
        jax.lax.fori_loop(0, 2, lambda i, c: jnp.tanh(c @ s[i] + c @ w), h),
        w,
        s,
    ),
    "square": lambda h, w, s: (h, w @ w, s),
    "batch": lambda h, w, s: (
        h + jnp.einsum("bi,bij->bj", h, jnp.broadcast_to(w, (4, N, N))),
        w,
        s,
    ),
}


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=6), st.integers(0, 2))
def test_random_programs(names, rank):
    """A rank of zero stands for noise that is drawn where it is used."""
    rng = np.random.default_rng(len(names))
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape) * 0.4, jnp.float32)
    params = {"w": draw(N, N), "s": draw(3, N, N)}
    key = noise.run_key(len(names))
    seeded = {"w": Seeded(key, None, VIEW), "s": Seeded(noise.fold_all(key, (3,)), None, STACKED)}
    directions = (
        seeded
        if not rank
        else {
            "w": LowRank(draw(N, rank), draw(N, rank), VIEW),
            "s": LowRank(draw(3, N, rank), draw(3, N, rank), STACKED),
        }
    )

    def loss(params):
        h, w, s = jnp.cos(jnp.arange(4.0 * N)).reshape(4, N), params["w"], params["s"]
        for name in names:
            h, w, s = STEPS[name](h, w, s)
        return jnp.sum(h @ w) + jnp.sum(jnp.tanh(h @ s[0]))

    both = [evaluation(loss, params).run for evaluation in (perturbed, materialised)]
    actual, expected = jax.jit(lambda d: [run(d, jnp.float32(0.3)) for run in both])(directions)
    rounding = 0.05 if "bfloat16" in names else 1e-3
    np.testing.assert_allclose(actual, expected, rtol=rounding, atol=rounding)
