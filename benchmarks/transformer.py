"""The model of `step_time.py` and `memory.py`: a plain transformer, scanned or unrolled.

By default 8 layers of width 512, hidden 2048, vocabulary 8192: 25 million parameters, float32. One
attention head without projections of keys and values, and a tied embedding: little code, and the
products, gathers and elementwise passes of a real forward pass.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Transformer(NamedTuple):
    """Sizes, and how the layers are kept.

    Attributes:
      scanned: one stacked leaf for each kind of weight and a `jax.lax.scan`, or a list of layers.
      checkpointed: a gradient keeps what goes into a layer alone, and computes the rest again.
    """

    layers: int = 8
    width: int = 512
    hidden: int = 2048
    vocabulary: int = 8192
    scanned: bool = True
    checkpointed: bool = False

    def params(self, seed: int = 0) -> dict[str, Any]:
        """Random weights, `embedding` and `layers`."""
        shapes = {
            "q": (self.width, self.width),
            "o": (self.width, self.width),
            "up": (self.width, self.hidden),
            "down": (self.hidden, self.width),
        }
        first, *keys = jax.random.split(jax.random.key(seed), 1 + len(shapes))
        layers: Any = {
            name: jax.random.normal(key, (self.layers, *shape)) * shape[0] ** -0.5
            for key, (name, shape) in zip(keys, shapes.items(), strict=True)
        }
        if not self.scanned:
            layers = [jax.tree.map(lambda w, i=i: w[i], layers) for i in range(self.layers)]
        embedding = jax.random.normal(first, (self.vocabulary, self.width)) * 0.02
        return {"embedding": embedding, "layers": layers}

    def tokens(self, batch: int, length: int, seed: int = 1) -> jax.Array:
        """Random token numbers, `(batch, length)`."""
        return jax.random.randint(jax.random.key(seed), (batch, length), 0, self.vocabulary)

    def loss(self, params: dict[str, Any], tokens: jax.Array) -> jax.Array:
        """The mean over the batch of the last position's log-partition; a scalar."""
        x = params["embedding"][tokens]
        block = _block
        if self.checkpointed:  # across a scan's bodies nothing is merged that was to be done again
            block = jax.checkpoint(_block, prevent_cse=not self.scanned)
        if self.scanned:
            x, _ = jax.lax.scan(lambda x, layer: (block(x, layer), None), x, params["layers"])
        else:
            for layer in params["layers"]:
                x = block(x, layer)
        return jnp.mean(jax.nn.logsumexp(x[:, -1] @ params["embedding"].T, -1))


def _block(x: jax.Array, layer: dict[str, jax.Array]) -> jax.Array:
    scores = jnp.einsum("btd,bsd->bts", x @ layer["q"], x) * x.shape[-1] ** -0.5
    x = x + (jax.nn.softmax(scores) @ x) @ layer["o"]
    x = x + jax.nn.gelu(x @ layer["up"]) @ layer["down"]
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6)
