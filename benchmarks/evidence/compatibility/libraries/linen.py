"""Flax Linen."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import IDS, IMAGES, cross_entropy, next_token

cases = Cases("flax")


class Block(nn.Module):
    """Of a transformer."""

    @nn.compact
    def __call__(self, x, _=None):
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(4)(y, y)
        z = nn.LayerNorm()(x)
        return x + nn.Dense(32)(nn.gelu(nn.Dense(64)(z))), None


class Transformer(nn.Module):
    """Its layers written out, rematerialised, scanned, or both."""

    mode: str = "loop"

    @nn.compact
    def __call__(self, ids):
        x = nn.Embed(64, 32)(ids)
        block = nn.remat(Block) if "remat" in self.mode else Block
        if "scan" in self.mode:
            own = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}, "length": 2}
            x, _ = nn.scan(block, **own)()(x, None)
        else:
            for _ in range(2):
                x, _ = block()(x, None)
        return nn.Dense(4)(x.mean(1))


class Tied(nn.Module):
    """A language model whose head is the embedding."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, ids):
        dense = functools.partial(nn.DenseGeneral, dtype=self.dtype)
        embed = nn.Embed(64, 32, dtype=self.dtype)
        x = embed(ids)
        x = x + dense(32, axis=(-2, -1))(jnp.tanh(dense((4, 8))(x)))
        return embed.attend(nn.LayerNorm(dtype=self.dtype)(x))


class ResNet(nn.Module):
    """Two stages."""

    norm: str = "group"

    @nn.compact
    def __call__(self, x, train=False):
        batch = functools.partial(nn.BatchNorm, use_running_average=not train)
        norm = batch if self.norm == "batch" else functools.partial(nn.GroupNorm, 4)
        x = nn.Conv(8, (3, 3))(x)
        for stride in (1, 2):
            y = nn.relu(norm()(nn.Conv(16, (3, 3), strides=stride, use_bias=False)(x)))
            y = norm()(nn.Conv(16, (3, 3), use_bias=False)(y))
            x = nn.relu(y + nn.Conv(16, (1, 1), strides=stride)(x))
        return nn.Dense(4)(x.mean((1, 2)))


class ViT(nn.Module):
    """Patches by a convolution, a class token, places."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(32, (4, 4), strides=4)(x).reshape(4, 16, 32)
        token = self.param("token", nn.initializers.normal(0.1), (1, 1, 32))
        x = jnp.concatenate([jnp.broadcast_to(token, (4, 1, 32)), x], 1)
        x = x + self.param("places", nn.initializers.normal(0.1), (1, 17, 32))
        return nn.Dense(4)(Block()(x)[0][:, 0])


class Recurrent(nn.Module):
    """One or two recurrent layers."""

    kind: str = "LSTM"

    @nn.compact
    def __call__(self, ids):
        x = nn.Embed(64, 16)(ids)
        cells = {"LSTM": nn.OptimizedLSTMCell, "GRU": nn.GRUCell}
        if self.kind in cells:
            return nn.Dense(4)(nn.RNN(cells[self.kind](16))(x)[:, -1])
        both = nn.Bidirectional(nn.RNN(nn.LSTMCell(8)), nn.RNN(nn.GRUCell(8)))
        return nn.Dense(4)(both(x)[:, -1])


class Normed(nn.Module):
    """Weights that are normalised."""

    @nn.compact
    def __call__(self, x):
        x = jnp.tanh(nn.WeightNorm(nn.Dense(32))(x.reshape(4, -1)[:, :64]))
        return nn.SpectralNorm(nn.Dense(4))(x, update_stats=False)


class Ensemble(nn.Module):
    """Layers under `vmap`, and an einsum."""

    @nn.compact
    def __call__(self, x):
        h = nn.Dense(32)(x.reshape(4, -1)[:, :64])
        own = {"in_axes": None, "out_axes": 0, "axis_size": 3, "split_rngs": {"params": True}}
        many = nn.vmap(nn.Dense, variable_axes={"params": 0}, **own)(8)(h)
        return nn.Dense(4)(jnp.concatenate(list(many), -1)) + nn.Einsum((32, 4), "bd,de->be")(h)


def of(module, x, loss=cross_entropy, **call):
    """Parameters and loss of a module."""
    variables = module.init(jax.random.key(0), x, **call)
    params = variables.pop("params")
    return params, lambda p: loss(module.apply({"params": p, **variables}, x, **call))


for mode in ("loop", "remat", "scan", "scan, remat"):
    cases(lambda mode=mode: of(Transformer(mode), IDS), f"transformer, {mode}")
cases(lambda: of(Tied(), IDS, next_token), "language model, tied Embed.attend, DenseGeneral")
cases(
    lambda: of(Tied(jnp.bfloat16), IDS, next_token), "the same, dtype=bfloat16",
    tolerance=0.3, remark="copies round the perturbation",
)  # fmt: skip
cases(lambda: of(ResNet(), IMAGES), "ResNet, GroupNorm")
cases(lambda: of(ResNet("batch"), IMAGES), "ResNet, BatchNorm, evaluation")
cases(lambda: of(ViT(), IMAGES), "ViT")
for kind in ("LSTM", "GRU", "both ways, LSTM and GRU"):
    cases(lambda kind=kind: of(Recurrent(kind), IDS), f"RNN, {kind}")
cases(lambda: of(Normed(), IMAGES), "WeightNorm, SpectralNorm")
cases(lambda: of(Ensemble(), IMAGES), "vmap of layers, Einsum")


@cases
def batch_norm():
    """ResNet, BatchNorm, training, mutable statistics."""
    module = ResNet("batch")
    variables = module.init(jax.random.key(0), IMAGES, train=True)
    params = variables.pop("params")
    call = functools.partial(module.apply, train=True, mutable=["batch_stats"])
    return params, lambda p: cross_entropy(call({"params": p, **variables}, IMAGES)[0])
