"""Mixtures of experts, ensembles, convolutions, sparse matrices."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import sparse

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import mean_square, normal

cases = Cases("jax")
X, IMAGES = normal(0, 8, 16), normal(5, 2, 8, 8, 3)
EXPERTS = {"router": normal(1, 16, 4), "up": normal(2, 4, 16, 32), "down": normal(3, 4, 32, 16)}
KERNEL = {"kernel": normal(1, 16, 16)}


def dense(p):
    """All experts on all tokens."""
    hidden = jax.nn.relu(jnp.einsum("td,edf->etf", X, p["up"]))
    shares = jax.nn.softmax(X @ p["router"])
    return mean_square(jnp.einsum("te,etf,efd->td", shares, hidden, p["down"]))


def gathered(p):
    """The weights of the best two."""
    value, which = lax.top_k(X @ p["router"], 2)
    hidden = jax.nn.relu(jnp.einsum("td,tkdf->tkf", X, p["up"][which]))
    out = jnp.einsum("tkf,tkfd->tkd", hidden, p["down"][which])
    return mean_square(jnp.einsum("tk,tkd->td", jax.nn.softmax(value), out))


def ragged(p):
    """Tokens sorted by their expert."""
    which = jnp.argmax(X @ p["router"], -1)
    sizes = jnp.bincount(which, length=4)
    hidden = jax.nn.relu(lax.ragged_dot(X[jnp.argsort(which)], p["up"], sizes))
    return mean_square(lax.ragged_dot(hidden, p["down"], sizes))


def dispatched(p):
    """Four places an expert, as in Switch."""
    shares = jax.nn.softmax(X @ p["router"])
    one = jax.nn.one_hot(jnp.argmax(shares, -1), 4)
    places = jax.nn.one_hot(((jnp.cumsum(one, 0) - 1) * one).astype(int), 4)
    sent = one[..., None] * places
    hidden = jax.nn.relu(jnp.einsum("tec,td,edf->ecf", sent, X, p["up"]))
    back = sent * shares.max(-1)[:, None, None]
    return mean_square(jnp.einsum("tec,ecf,efd->td", back, hidden, p["down"]))


def scanned(p):
    """One expert after the other."""
    shares = jax.nn.softmax(X @ p["router"]).T
    one = lambda sum_, e: (sum_ + jax.nn.relu(X @ e[0]) @ e[1] * e[2][:, None], None)
    return mean_square(lax.scan(one, jnp.zeros((8, 16)), (p["up"], p["down"], shares))[0])


ways = {"every expert": dense, "weights gathered": gathered, "ragged_dot": ragged}
ways |= {"dispatched": dispatched, "scan": scanned}
cases.of(EXPERTS, {f"experts, {name}": loss for name, loss in ways.items()})
layer = lambda w: jnp.tanh(X @ w)
many = {"kernel": normal(1, 3, 16, 16)}
cases.of(many, {"vmap over weights": lambda p: mean_square(jax.vmap(layer)(p["kernel"]))})
last = {"kernel": normal(1, 16, 16, 3)}
by_last = lambda p: jax.vmap(layer, in_axes=2)(p["kernel"])
cases.of(last, {"vmap over the last axis": lambda p: mean_square(by_last(p))})

LAST = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
conv = lax.conv_general_dilated
full = {"kernel": normal(1, 3, 3, 3, 8)}
losses = {
    "conv_general_dilated": lambda p: mean_square(
        conv(IMAGES, p["kernel"], (1, 1), "SAME", **LAST)
    ),
    "conv_transpose": lambda p: mean_square(
        lax.conv_transpose(IMAGES, p["kernel"], (2, 2), "SAME")
    ),
}
cases.of(full, losses)
apart = {"rhs_dilation": (2, 2), "feature_group_count": 3, **LAST}
deep = lambda p: conv(IMAGES, p["kernel"], (2, 2), "SAME", **apart)
losses = {"depthwise convolution, strided, dilated": lambda p: mean_square(deep(p))}
cases.of({"kernel": normal(1, 3, 3, 1, 3)}, losses)
patches = lambda p: conv(IMAGES, p["kernel"], (4, 4), "VALID", **LAST)
losses = {"patches by a convolution": lambda p: mean_square(patches(p))}
cases.of({"kernel": normal(1, 4, 4, 3, 8)}, losses)
filtered = lambda p: jnp.convolve(X[0], p["filter"])
cases.of({"filter": normal(1, 5)}, {"jnp.convolve": lambda p: mean_square(filtered(p))})

PLACES = jnp.stack([jnp.arange(20) % 16, jnp.arange(20) * 7 % 16], 1)
matrix = lambda p: sparse.BCOO((p["data"], PLACES), shape=(16, 16))
cases.of({"data": normal(1, 20)}, {"BCOO of parameters": lambda p: mean_square(matrix(p) @ X.T)})
FEW = sparse.BCOO.fromdense(jnp.where(jnp.abs(normal(3, 8, 16)) > 0.3, 1.0, 0))
product = sparse.sparsify(lambda s, w: s @ w)
losses = {
    "sparse activations": lambda p: mean_square(FEW @ p["kernel"]),
    "sparsify": lambda p: mean_square(product(FEW, p["kernel"])),
}
cases.of(KERNEL, losses)
