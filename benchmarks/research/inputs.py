"""The inputs of every matrix of an encoder: what a covariance on the fan-in side can be made of."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from problem import Data

HEAD_SIZE = 32
EPSILON = 1e-12


def matrix_inputs(params: Any, data: Data) -> dict[str, np.ndarray]:
    """The inputs (tokens, n) of every matrix, layer by layer, at tokens that are not padding.

    The encoder written out, as the package's own does not show what is between.
    """
    found = jax.jit(_forward)(params, jnp.asarray(data.inputs), jnp.asarray(data.mask))
    real = np.asarray(data.mask).reshape(-1) != 0
    rows = lambda x: np.asarray(x).reshape(-1, x.shape[-1])[real] if x.ndim == 3 else np.asarray(x)
    return {name: rows(x).astype(np.float64) for name, x in found.items()}


def _forward(params: Any, ids: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
    found: dict[str, jax.Array] = {}
    x = ids
    if ids.ndim == 2:  # else the features of a tail
        tables = params["embeddings"]
        x = tables["word"]["embedding"][ids] + tables["token_type"]["embedding"][0]
        x = norm(x + tables["position"]["embedding"][: ids.shape[1]], tables["norm"])
    for i in range(params["layers"]["up"]["bias"].shape[0]):
        layer = jax.tree.map(lambda w, i=i: w[i], params["layers"])
        x = _layer(layer, x, mask, f"{i}", found)
    real = mask[..., None].astype(x.dtype)
    found["classifier/kernel"] = (x * real).sum(1) / real.sum(1)
    return found


def _layer(layer: Any, x: jax.Array, mask: jax.Array, name: str, found: dict) -> jax.Array:
    attention = layer["attention"]
    heads = {}
    for block in ("query", "key", "value"):
        found[f"{name}/attention/{block}/kernel"] = x
        heads[block] = _linear(attention[block], x)
    mixed = attended(heads["query"], heads["key"], heads["value"], mask)
    found[f"{name}/attention/output/kernel"] = mixed
    x = norm(x + _linear(attention["output"], mixed), layer["attention_norm"])
    found[f"{name}/up/kernel"] = x
    hidden = jax.nn.gelu(_linear(layer["up"], x), approximate=False)
    found[f"{name}/down/kernel"] = hidden
    return norm(x + _linear(layer["down"], hidden), layer["mlp_norm"])


def attended(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
    """Attention of heads that lie side by side (B, T, D); what is masked (B, T) is not read."""
    q, k, v = (x.reshape(*x.shape[:2], -1, HEAD_SIZE) for x in (query, key, value))
    scores = jnp.einsum("bthd,bshd->bhts", q, k) / HEAD_SIZE**0.5
    weights = jax.nn.softmax(jnp.where(mask[:, None, None, :] != 0, scores, -jnp.inf))
    return jnp.einsum("bhts,bshd->bthd", weights, v).reshape(query.shape)


def _linear(weights: Any, x: jax.Array) -> jax.Array:
    return x @ weights["kernel"] + weights["bias"]


def norm(x: jax.Array, weights: Any) -> jax.Array:
    """A layer norm."""
    x = x - x.mean(-1, keepdims=True)
    x = x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + EPSILON)
    return x * weights["scale"] + weights["bias"]
