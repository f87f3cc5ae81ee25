"""Flax NNX."""

import jax
import jax.numpy as jnp
from flax import nnx

import loren_jax
from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import IDS, IMAGES, cross_entropy

cases = Cases("flax")


class Block(nnx.Module):
    """Of a transformer."""

    def __init__(self, rngs):
        self.norms = nnx.List([nnx.LayerNorm(32, rngs=rngs), nnx.RMSNorm(32, rngs=rngs)])
        own = {"decode": False, "dropout_rate": 0.1, "deterministic": True}
        self.attention = nnx.MultiHeadAttention(4, 32, rngs=rngs, **own)
        self.up, self.down = nnx.Linear(32, 64, rngs=rngs), nnx.Linear(64, 32, rngs=rngs)

    def __call__(self, x):
        x = x + self.attention(self.norms[0](x))
        return x + self.down(nnx.gelu(self.up(self.norms[1](x))))


class Transformer(nnx.Module):
    """Two blocks, in a list or stacked and scanned."""

    def __init__(self, scanned=False):
        rngs = nnx.Rngs(0)
        self.embed, self.head = nnx.Embed(64, 32, rngs=rngs), nnx.Linear(32, 4, rngs=rngs)
        self.scanned = scanned
        if scanned:
            made = nnx.vmap(Block, in_axes=(0,), out_axes=0)
            self.blocks = nnx.split_rngs(splits=2)(made)(rngs)
        else:
            self.blocks = nnx.List([Block(rngs) for _ in range(2)])

    def __call__(self, ids):
        x = self.embed(ids)
        if self.scanned:
            over = nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
            x = over(lambda x, block: block(x))(x, self.blocks)
        else:
            for block in self.blocks:
                x = block(x)
        return self.head(x.mean(1))


class Convolutional(nnx.Module):
    """With layers that change themselves."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.conv, self.head = nnx.Conv(3, 8, (3, 3), rngs=rngs), nnx.Linear(8, 4, rngs=rngs)
        self.norm, self.drop = nnx.BatchNorm(8, rngs=rngs), nnx.Dropout(0.2, rngs=rngs)

    def __call__(self, x):
        return self.head(self.drop(nnx.relu(self.norm(self.conv(x))).mean((1, 2))))


class Adapted(nnx.Module):
    """A layer with an adapter."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.embed, self.head = nnx.Embed(64, 32, rngs=rngs), nnx.Linear(32, 4, rngs=rngs)
        self.layer = nnx.LoRALinear(32, 32, lora_rank=4, rngs=rngs)

    def __call__(self, ids):
        return self.head(jnp.tanh(self.layer(self.embed(ids))).mean(1))


class Recurrent(nnx.Module):
    """An LSTM."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.embed, self.head = nnx.Embed(64, 16, rngs=rngs), nnx.Linear(16, 4, rngs=rngs)
        self.cells = nnx.RNN(nnx.LSTMCell(16, 16, rngs=rngs), rngs=rngs)

    def __call__(self, ids):
        return self.head(self.cells(self.embed(ids))[:, -1])


def of(model, x, filter=None):
    """Parameters and loss of a module."""
    functional = loren_jax.from_nnx(model, filter)
    return functional.params, lambda p: functional.loss(lambda m: cross_entropy(m(x)))(p)


cases(lambda: of(Transformer(), IDS), "transformer, MultiHeadAttention")
cases(lambda: of(Transformer(scanned=True), IDS), "transformer, stacked by vmap, nnx.scan")
cases(lambda: of(Convolutional(), IMAGES), "Conv, BatchNorm, Dropout, training")
cases(lambda: of(Adapted(), IDS, nnx.LoRAParam), "LoRALinear, adapters alone")
cases(lambda: of(Adapted(), IDS), "LoRALinear, everything")
cases(lambda: of(Recurrent(), IDS), "LSTM")


@cases
def evaluation():
    """Conv, BatchNorm, Dropout, evaluation."""
    model = Convolutional()
    model.eval()
    return of(model, IMAGES)


@cases
def pure():
    """Parameters as a pure dict."""
    graph, state, rest = nnx.split(Adapted(), nnx.Param, ...)

    def loss(params):
        own = jax.tree.map(lambda x: x, state)
        nnx.replace_by_pure_dict(own, params)
        return cross_entropy(nnx.merge(graph, own, rest)(IDS))

    return nnx.to_pure_dict(state), loss
