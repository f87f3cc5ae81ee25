"""Equinox."""

import equinox as eqx
import equinox.internal
import jax
import jax.numpy as jnp
import numpy as np

import loren_jax
from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import IDS, cross_entropy, normal

cases = Cases("equinox")
KEYS = jax.random.split(jax.random.key(0), 8)
IMAGES = jax.random.normal(jax.random.key(0), (4, 3, 8, 8))


class Block(eqx.Module):
    """Of a transformer, of one text."""

    attention: eqx.nn.MultiheadAttention
    norms: list
    mlp: eqx.nn.MLP

    def __init__(self, key):
        one, two = jax.random.split(key)
        self.attention = eqx.nn.MultiheadAttention(4, 32, key=one)
        self.norms = [eqx.nn.LayerNorm(32), eqx.nn.LayerNorm(32)]
        self.mlp = eqx.nn.MLP(32, 32, 64, 1, key=two)

    def __call__(self, x):
        y = jax.vmap(self.norms[0])(x)
        x = x + self.attention(y, y, y)
        return x + jax.vmap(self.mlp)(jax.vmap(self.norms[1])(x))


class Transformer(eqx.Module):
    """Two blocks in a list, or three in one stack that is scanned."""

    embed: eqx.nn.Embedding
    blocks: list | Block
    head: eqx.nn.Linear

    def __init__(self, stacked=False):
        self.embed = eqx.nn.Embedding(64, 32, key=KEYS[0])
        self.head = eqx.nn.Linear(32, 4, key=KEYS[1])
        self.blocks = eqx.filter_vmap(Block)(KEYS[:3]) if stacked else [Block(k) for k in KEYS[:2]]

    def __call__(self, ids):
        x = jax.vmap(self.embed)(ids)
        if isinstance(self.blocks, list):
            for block in self.blocks:
                x = block(x)
        else:
            arrays, rest = eqx.partition(self.blocks, eqx.is_array)
            layer = eqx.filter_checkpoint(lambda x, own: eqx.combine(own, rest)(x))
            x, _ = jax.lax.scan(lambda x, own: (layer(x, own), None), x, arrays)
        return self.head(x.mean(0))


class Convolutional(eqx.Module):
    """With a BatchNorm."""

    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    head: eqx.nn.Linear

    def __init__(self):
        self.conv = eqx.nn.Conv2d(3, 8, 3, key=KEYS[0])
        self.norm = eqx.nn.BatchNorm(8, "batch", mode="batch")
        self.head = eqx.nn.Linear(8, 4, key=KEYS[1])

    def __call__(self, x, state):
        x, state = self.norm(jax.nn.relu(self.conv(x)), state)
        return self.head(x.mean((1, 2))), state


class Normed(eqx.Module):
    """Weights that are normalised."""

    first: eqx.nn.SpectralNorm
    second: eqx.nn.WeightNorm

    def __init__(self):
        layers = [eqx.nn.Linear(16, n, key=k) for n, k in zip((16, 4), KEYS, strict=False)]
        self.first = eqx.nn.SpectralNorm(layers[0], "weight", key=KEYS[2])
        self.second = eqx.nn.WeightNorm(layers[1])

    def __call__(self, x, state):
        x, state = self.first(x, state)
        return self.second(jnp.tanh(x)), state


class Recurrent(eqx.Module):
    """A GRU under an LSTM, each in a scan."""

    embed: eqx.nn.Embedding
    gru: eqx.nn.GRUCell
    lstm: eqx.nn.LSTMCell
    head: eqx.nn.Linear

    def __init__(self):
        self.embed = eqx.nn.Embedding(64, 16, key=KEYS[0])
        self.gru = eqx.nn.GRUCell(16, 16, key=KEYS[1])
        self.lstm = eqx.nn.LSTMCell(16, 16, key=KEYS[2])
        self.head = eqx.nn.Linear(16, 4, key=KEYS[3])

    def __call__(self, ids):
        twice = lambda state, x: (self.gru(x, state),) * 2
        last, states = jax.lax.scan(twice, jnp.zeros(16), jax.vmap(self.embed)(ids))
        (h, _), _ = jax.lax.scan(lambda s, x: (self.lstm(x, s), None), (last, last), states)
        return self.head(h + last)


def of(module, x=None, function=None):
    """Parameters and loss of a module."""
    functional = loren_jax.from_equinox(module)
    function = function or (lambda m: cross_entropy(jax.vmap(m)(x)))
    return functional.params, lambda p: functional.loss(function)(p)


def stateful(make, x, inference=False):
    """The same where the module hands a state through."""
    module, state = eqx.nn.make_with_state(make)()
    module = eqx.nn.inference_mode(module, inference)
    axes = {"axis_name": "batch", "in_axes": (0, None), "out_axes": (0, None)}
    return of(module, function=lambda m: cross_entropy(jax.vmap(m, **axes)(x, state)[0]))


cases(lambda: of(Transformer(), IDS), "transformer, MultiheadAttention, vmap of Embedding")
cases(lambda: of(Transformer(True), IDS), "blocks stacked by filter_vmap, scan, checkpoint")
cases(lambda: stateful(Convolutional, IMAGES), "Conv2d, BatchNorm, training")
cases(lambda: stateful(Convolutional, IMAGES, True), "Conv2d, BatchNorm, inference")
cases(lambda: stateful(Normed, normal(3, 4, 16)), "SpectralNorm, WeightNorm")
cases(lambda: of(Recurrent(), IDS), "GRUCell and LSTMCell in scan")


def perceptron():
    """With features to it."""
    return eqx.nn.MLP(16, 4, 16, 1, key=KEYS[0]), normal(4, 4, 16)


@cases
def checked():
    """error_if on activations."""
    module, x = perceptron()
    found = lambda scores: eqx.error_if(scores, jnp.any(jnp.isnan(scores)), "not a number")
    return of(module, function=lambda m: cross_entropy(found(jax.vmap(m)(x))))


@cases
def whole_numbers():
    """MLP on integer features."""
    return of(perceptron()[0], jnp.asarray(np.random.RandomState(0).randint(0, 5, (4, 16))))


def looped(kind):
    """A weight in a loop of five rounds."""
    body = lambda p: lambda c: (jnp.tanh(p["w"] @ c[0]) + 0.1, c[1] + 1)
    start, own = (jnp.ones(8), 0), {"kind": kind, "max_steps": 8}
    loop = equinox.internal.while_loop
    value = lambda p: loop(lambda c: c[1] < 5, body(p), start, **own)[0]
    return {"w": normal(1, 8, 8)}, lambda p: jnp.sum(value(p) ** 2)


for kind in ("lax", "checkpointed", "bounded"):
    cases(lambda kind=kind: looped(kind), f"internal.while_loop, {kind}")
whole = equinox.internal.noinline(lambda w: jnp.tanh(w @ jnp.ones(8)))
cases.of({"w": normal(1, 8, 8)}, {"internal.noinline": lambda p: jnp.sum(whole(p["w"]) ** 2)})
