"""MiniLM written out: what flows into its matrices is seen, what comes out can be added to.

The package's own encoder does not show what is between its layers.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from problem import Data

HEAD_SIZE = 32
EPSILON = 1e-12


class Linear:
    """The matrices of a forward pass.

    Attributes:
      added: matrix -> what is added to its outputs.
      inputs: matrix -> its inputs, once the pass was run.
    """

    def __init__(self, added: dict[str, Any] | None = None):
        self.added, self.inputs = added or {}, {}

    def __call__(self, weights: Any, x: jax.Array, name: str) -> jax.Array:
        """The product and its bias."""
        self.inputs[name] = x
        y = x @ weights["kernel"] + weights["bias"]
        return y + self.added[name] if name in self.added else y


def logits(params: Any, data: Data, linear: Linear) -> jax.Array:
    """Logits (B, 2) of token ids, or of the features of a tail; matrices go by `linear`.

    A matrix is called as its path is without `layers` and `kernel`, with its layer's number before
    it: `0/attention/query`, `5/up`, `classifier`.
    """
    x, mask = jnp.asarray(data.inputs), jnp.asarray(data.mask)
    if x.ndim == 2:
        tables = params["embeddings"]
        x = tables["word"]["embedding"][x] + tables["token_type"]["embedding"][0]
        x = _norm(x + tables["position"]["embedding"][: x.shape[1]], tables["norm"])
    for i in range(params["layers"]["up"]["bias"].shape[0]):
        layer = jax.tree.map(lambda w, i=i: w[i], params["layers"])
        own, name = layer["attention"], f"{i}/attention"
        heads = [linear(own[n], x, f"{name}/{n}") for n in ("query", "key", "value")]
        mixed = linear(own["output"], _attended(*heads, mask), f"{name}/output")
        x = _norm(x + mixed, layer["attention_norm"])
        hidden = jax.nn.gelu(linear(layer["up"], x, f"{i}/up"), approximate=False)
        x = _norm(x + linear(layer["down"], hidden, f"{i}/down"), layer["mlp_norm"])
    real = mask[..., None].astype(x.dtype)
    return linear(params["classifier"], (x * real).sum(1) / real.sum(1), "classifier")


def matrix_inputs(params: Any, data: Data) -> dict[str, np.ndarray]:
    """The inputs (tokens, n) of every matrix, layer by layer, at tokens that are not padding."""

    @jax.jit
    def seen(params: Any, ids: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        linear = Linear()
        logits(params, Data(ids, mask, None), linear)
        return linear.inputs

    found = seen(params, jnp.asarray(data.inputs), jnp.asarray(data.mask))
    real = np.asarray(data.mask).reshape(-1) != 0
    rows = lambda x: np.asarray(x).reshape(-1, x.shape[-1])[real] if x.ndim == 3 else np.asarray(x)
    return {f"{name}/kernel": rows(x).astype(np.float64) for name, x in found.items()}


def _attended(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array) -> jax.Array:
    """Attention of heads that lie side by side (B, T, D); what is masked (B, T) is not read."""
    q, k, v = (x.reshape(*x.shape[:2], -1, HEAD_SIZE) for x in (query, key, value))
    scores = jnp.einsum("bthd,bshd->bhts", q, k) / HEAD_SIZE**0.5
    weights = jax.nn.softmax(jnp.where(mask[:, None, None, :] != 0, scores, -jnp.inf))
    return jnp.einsum("bhts,bshd->bthd", weights, v).reshape(query.shape)


def _norm(x: jax.Array, weights: Any) -> jax.Array:
    x = x - x.mean(-1, keepdims=True)
    x = x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + EPSILON)
    return x * weights["scale"] + weights["bias"]
