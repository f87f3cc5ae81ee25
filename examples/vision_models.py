"""A vision transformer and a ResNet in Flax NNX, for `vision.py`."""

import jax
import jax.numpy as jnp
from flax import nnx


class Block(nnx.Module):
    """Of a transformer that normalises first."""

    def __init__(self, width: int, heads: int, rngs: nnx.Rngs):
        self.norms = nnx.List([nnx.LayerNorm(width, epsilon=1e-6, rngs=rngs) for _ in range(2)])
        self.attention = nnx.MultiHeadAttention(heads, width, decode=False, rngs=rngs)
        self.up = nnx.Linear(width, 4 * width, rngs=rngs)
        self.down = nnx.Linear(4 * width, width, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Attention, then the layer of each token."""
        x = x + self.attention(self.norms[0](x))
        return x + self.down(nnx.gelu(self.up(self.norms[1](x))))


class ViT(nnx.Module):
    """A vision transformer, its layers stacked and scanned."""

    def __init__(
        self, size: int, patch: int, channels: int, width: int, depth: int, heads: int,
        classes: int, seed: int = 0,
    ):  # fmt: skip
        rngs = nnx.Rngs(jax.random.key(seed))
        self.patches = nnx.Conv(channels, width, (patch, patch), strides=patch, rngs=rngs)
        normal = lambda shape: nnx.Param(0.02 * jax.random.normal(rngs.params(), shape))
        self.token = normal((1, 1, width))
        self.places = normal((1, (size // patch) ** 2 + 1, width))
        made = nnx.vmap(lambda rngs: Block(width, heads, rngs), in_axes=0, out_axes=0)
        self.blocks = nnx.split_rngs(splits=depth)(made)(rngs)
        self.norm = nnx.LayerNorm(width, epsilon=1e-6, rngs=rngs)
        zero = nnx.initializers.zeros
        self.head = nnx.Linear(width, classes, kernel_init=zero, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        """Scores of the classes."""
        x = self.patches(images)
        x = x.reshape(len(x), -1, x.shape[-1])
        token = jnp.broadcast_to(self.token[...], (len(x), 1, x.shape[-1]))
        x = jnp.concatenate([token, x], 1) + self.places[...]
        scan = nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        x = scan(lambda x, block: block(x))(x, self.blocks)
        return self.head(self.norm(x[:, 0]))


class Residual(nnx.Module):
    """Two convolutions and a way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs):
        size, own = (3, 3), {"use_bias": False, "rngs": rngs}
        self.convs = nnx.List(
            [
                nnx.Conv(inputs, outputs, size, strides=stride, **own),
                nnx.Conv(outputs, outputs, size, **own),
                nnx.Conv(inputs, outputs, (1, 1), strides=stride, **own),
            ]
        )
        self.norms = nnx.List([nnx.GroupNorm(outputs, 4, rngs=rngs) for _ in range(2)])

    def __call__(self, x: jax.Array) -> jax.Array:
        """The sum of both ways."""
        y = nnx.relu(self.norms[0](self.convs[0](x)))
        return nnx.relu(self.norms[1](self.convs[1](y)) + self.convs[2](x))


class ResNet(nnx.Module):
    """Three residual blocks."""

    def __init__(self, channels: int, widths: tuple[int, ...], classes: int, seed: int = 0):
        rngs = nnx.Rngs(jax.random.key(seed))
        self.first = nnx.Conv(channels, widths[0], (3, 3), rngs=rngs)
        pairs = zip((widths[0], *widths), widths, strict=False)
        self.blocks = nnx.List(
            [Residual(a, b, 1 if i == 0 else 2, rngs) for i, (a, b) in enumerate(pairs)]
        )
        self.head = nnx.Linear(widths[-1], classes, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        """Scores of the classes."""
        x = nnx.relu(self.first(images))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))
