"""Rows, columns and slices of weights."""

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import mean_square, normal

cases = Cases("jax")
X = normal(0, 8, 16)
IDS = jnp.array([[1, 5, 3, -1, 40], [0, 2, 2, 31, 7]])
TABLE = {"embedding": normal(1, 32, 16)}
KERNEL = {"kernel": normal(1, 16, 16)}
numbers = lambda x: mean_square(jnp.nan_to_num(x))
filled = lambda p, value: p["embedding"].at[IDS].get(mode="fill", fill_value=value)
bag = lambda p: jax.ops.segment_sum(p["embedding"][jnp.arange(10)], jnp.arange(10) // 3, 4)
losses = {
    "one_hot": lambda p: mean_square(jax.nn.one_hot(IDS, 32) @ p["embedding"]),
    "by index, negative and out of range": lambda p: numbers(p["embedding"][IDS]),
    "take, clip": lambda p: mean_square(jnp.take(p["embedding"], IDS, axis=0, mode="clip")),
    "take, fill with NaN": lambda p: numbers(jnp.take(p["embedding"], IDS, axis=0)),
    "at.get, fill with 0": lambda p: mean_square(filled(p, 0)),
    "at.get, fill with 1": lambda p: jnp.mean(filled(p, 1.0) ** 2),
    "segment_sum, a bag of rows": lambda p: mean_square(bag(p)),
    "under vmap": lambda p: mean_square(jax.vmap(lambda i: p["embedding"][i])(IDS[0])),
}
cases.of(TABLE, losses, scale=0.1)
two = jnp.array([0, 9])
outside = lambda p: jnp.take(p["w"], two, axis=1, mode="fill", fill_value=2.0)
cases.of({"w": normal(1, 8, 8)}, {"take, columns, fill with 2": lambda p: mean_square(outside(p))})
order = jnp.argsort(jnp.sin(jnp.arange(256.0)).reshape(16, 16), 1)
rows, columns = jnp.array([1, 2, 3]), jnp.array([4, 5, 6])
losses = {
    "take_along_axis": lambda p: mean_square(jnp.take_along_axis(p["kernel"], order, 1)),
    "pairs of indices": lambda p: mean_square(p["kernel"][rows, columns]),
    "columns by index": lambda p: mean_square(X @ p["kernel"][:, jnp.array([4, 5, 6, 6])]),
    "at.add": lambda p: mean_square(X @ p["kernel"].at[0].add(1.0)),
    "dynamic_slice": lambda p: mean_square(
        lax.dynamic_slice(p["kernel"], (jnp.argmax(X[0]), 0), (4, 16))
    ),
}
cases.of(KERNEL, losses)
hashed = lambda p: p["a"][IDS % 7] * p["b"][IDS % 5]
tables = {"a": normal(1, 7, 16), "b": normal(2, 5, 16)}
cases.of(tables, {"two tables by hash": lambda p: mean_square(hashed(p))})
