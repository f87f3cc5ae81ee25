"""JAX's attention, kernels written in Pallas."""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import mean_square, normal

cases = Cases("jax")
X, TEXTS = normal(0, 8, 16), normal(4, 2, 8, 16)
KERNEL = {"kernel": normal(1, 16, 16)}


def attention(p, **own):
    """Two heads."""
    heads = [(TEXTS @ p[name]).reshape(2, 8, 2, 8) for name in ("query", "key", "value")]
    return mean_square(jax.nn.dot_product_attention(*heads, **own))


def product(a, b, grid=False):
    """By a kernel, in one piece or in two."""

    def kernel(x, w, out):
        out[...] = x[...] @ w[...]

    shape = jax.ShapeDtypeStruct((a.shape[0], b.shape[1]), a.dtype)
    rows, whole = pl.BlockSpec((4, 16), lambda i: (i, 0)), pl.BlockSpec((16, 16), lambda i: (0, 0))
    split = {"grid": (2,), "in_specs": [rows, whole], "out_specs": rows}
    return pl.pallas_call(kernel, out_shape=shape, interpret=True, **(split if grid else {}))(a, b)


def softmax(a):
    """By a kernel."""

    def kernel(x, out):
        out[...] = jax.nn.softmax(x[...], -1)

    shape = jax.ShapeDtypeStruct(a.shape, a.dtype)
    return pl.pallas_call(kernel, out_shape=shape, interpret=True)(a)


three = {name: normal(i, 16, 16) for i, name in enumerate(("query", "key", "value"))}
losses = {
    "dot_product_attention, xla": lambda p: attention(p, implementation="xla", is_causal=True),
    "dot_product_attention": attention,
}
cases.of(three, losses)
kernels = {
    "Pallas, product with a weight": lambda p: mean_square(product(X, p["kernel"])),
    "Pallas, product with a weight, on a grid": lambda p: mean_square(
        product(X, p["kernel"], grid=True)
    ),
    "Pallas, softmax of activations": lambda p: mean_square(softmax(X @ p["kernel"])),
}
cases.of(KERNEL, kernels)
fused = lambda p: jnp.concatenate([p["query"], p["key"], p["value"]], 1)
cases.of(three, {"weights joined, queries, keys and values": lambda p: mean_square(X @ fused(p))})
