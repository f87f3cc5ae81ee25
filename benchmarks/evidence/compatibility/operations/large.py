"""Leaves above 2^14 numbers, whose noise of full rank is drawn where it is used."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import mean_square, normal

cases = Cases("jax")
X = normal(0, 8, 160)
IDS = jnp.array([[1, 5, 3, 999, 40], [0, 2, 2, 31, 7]])
WIDE = {"kernel": normal(1, 160, 160)}
TABLE = {"embedding": normal(1, 256, 160)}
LAYERS = {"kernel": normal(1, 3, 160, 160)}
get = lambda p, **how: p["embedding"].at[IDS].get(**how)
losses = {
    "look-up, fill with 0": lambda p: mean_square(get(p, mode="fill", fill_value=0)),
    "look-up, fill with 1": lambda p: jnp.mean(get(p, mode="fill", fill_value=1.0) ** 2),
    "look-up, fill with NaN": lambda p: mean_square(jnp.nan_to_num(get(p, mode="fill"))),
    "look-up, clip": lambda p: mean_square(get(p, mode="clip")),
    "look-up and head tied": lambda p: mean_square(get(p, mode="clip") @ p["embedding"].T),
}
cases.of(TABLE, {f"large: {name}": loss for name, loss in losses.items()})


def views(p):
    """Transposed, sliced, reversed and split."""
    w, (left, right) = p["kernel"], jnp.split(p["kernel"], 2, 1)
    cut = mean_square(X @ w.T) + mean_square(X[:, :80] @ w[:80])
    return cut + mean_square(X @ w[::-1]) + mean_square(X @ left + X @ right)


def joined(p):
    """Concatenated, masked, squared."""
    w = p["kernel"]
    masked = X @ jnp.where(jnp.eye(160) > 0, w, 0)
    return mean_square(X @ jnp.concatenate([w, w], 1)) + mean_square(masked) + 1e-3 * jnp.sum(w**2)


def looped(p):
    """In a loop and a branch."""
    body = lambda _, h: jnp.tanh(h @ p["kernel"])
    h = lax.fori_loop(0, 3, body, X)
    return lax.cond(jnp.sum(h) > 0, lambda: mean_square(h @ p["kernel"]), lambda: mean_square(h))


@jax.custom_vjp
def linear(x, w):
    """A layer with a rule of its own."""
    return x @ w


linear.defvjp(lambda x, w: (x @ w, (x, w)), lambda kept, g: (g @ kept[1].T, kept[0].T @ g))
counts = jnp.asarray(np.random.RandomState(0).randint(-9, 9, (8, 160)), jnp.int8)
half = lambda w: (X.astype(jnp.bfloat16) @ w.astype(jnp.bfloat16)).astype(jnp.float32)
heads = lambda p: jnp.einsum("bi,ihd->bhd", X, p["kernel"].reshape(160, 4, 40))
kept = lambda p: jax.checkpoint(lambda w: jnp.tanh(linear(X, w)))(p["kernel"])
losses = {
    "transpose, slice, rev, split": views,
    "reshape to heads": lambda p: mean_square(heads(p)),
    "times a number, negated": lambda p: mean_square(X @ (-p["kernel"] * 3 / 7)),
    "int8 activations": lambda p: mean_square(counts @ p["kernel"]),
    "summed over the other side": lambda p: mean_square(X @ p["kernel"].T),
    "summed over both sides": lambda p: mean_square(jnp.tensordot(X.T @ X, p["kernel"], 2)),
    "loop and branch": looped,
    "checkpoint, custom_vjp": lambda p: mean_square(kept(p)),
    "concatenate, where, squares": joined,
}
cases.of(WIDE, {f"large: {name}": loss for name, loss in losses.items()})
cases.of(
    WIDE, {"large: cast to bfloat16": lambda p: mean_square(half(p["kernel"]))},
    tolerance=0.3, remark="copies round the perturbation",
)  # fmt: skip


def layered(p):
    """Scanned, backward, and one by its number."""
    step = lambda h, w: (jnp.tanh(h @ w), None)
    h, _ = lax.scan(step, X, p["kernel"][::-1])
    return mean_square(h @ p["kernel"][jnp.argmax(X[0]) % 3])


sizes = jnp.array([2, 3, 3])
chosen = lambda p: p["kernel"][jnp.argmax(X[:, :3], -1)]
losses = {
    "scan, rev, one layer by index": layered,
    "experts in a batch": lambda p: mean_square(jnp.einsum("cd,edf->ecf", X, p["kernel"])),
    "experts gathered": lambda p: mean_square(jnp.einsum("td,tdf->tf", X, chosen(p))),
    "ragged_dot": lambda p: mean_square(lax.ragged_dot(X, p["kernel"], sizes)),
}
cases.of(LAYERS, {f"large: {name}": loss for name, loss in losses.items()})
last = {"kernel": normal(1, 80, 80, 3)}
by_last = lambda p: jax.vmap(lambda w: X[:, :80] @ w, in_axes=2)(p["kernel"])
cases.of(last, {"large: vmap over the last axis": lambda p: mean_square(by_last(p))})
images = normal(5, 2, 8, 8, 48)
own = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
convolved = lambda p: lax.conv_general_dilated(images, p["kernel"], (1, 1), "SAME", **own)
cases.of(
    {"kernel": normal(1, 3, 3, 48, 48)}, {"large: convolution": lambda p: mean_square(convolved(p))}
)
