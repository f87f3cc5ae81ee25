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
        x = _norm(x + tables["position"]["embedding"][: ids.shape[1]], tables["norm"])
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
        y = _linear(attention[block], x)
        heads[block] = y.reshape(*y.shape[:2], -1, HEAD_SIZE)
    scores = jnp.einsum("bthd,bshd->bhts", heads["query"], heads["key"]) / HEAD_SIZE**0.5
    weights = jax.nn.softmax(jnp.where(mask[:, None, None, :] != 0, scores, -jnp.inf))
    mixed = jnp.einsum("bhts,bshd->bthd", weights, heads["value"]).reshape(x.shape)
    found[f"{name}/attention/output/kernel"] = mixed
    x = _norm(x + _linear(attention["output"], mixed), layer["attention_norm"])
    found[f"{name}/up/kernel"] = x
    hidden = jax.nn.gelu(_linear(layer["up"], x), approximate=False)
    found[f"{name}/down/kernel"] = hidden
    return _norm(x + _linear(layer["down"], hidden), layer["mlp_norm"])


def _linear(weights: Any, x: jax.Array) -> jax.Array:
    return x @ weights["kernel"] + weights["bias"]


def _norm(x: jax.Array, weights: Any) -> jax.Array:
    x = x - x.mean(-1, keepdims=True)
    x = x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + EPSILON)
    return x * weights["scale"] + weights["bias"]
