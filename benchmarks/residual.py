"""The second model of `step_time --compile`: a residual network of blocks in a list.

Eight blocks of two convolutions of 3 x 3 as Haiku writes them, each behind a norm over channels
with scale and offset, on small images; four widths, so that not all leaves have one shape.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Residual(NamedTuple):
    """Sizes: two blocks of each width, whose first has half the places of what it reads."""

    widths: tuple[int, ...] = (16, 32, 64, 128)

    def params(self, seed: int = 0) -> dict[str, Any]:
        """Random weights by layer, as `block_3/conv_0`."""
        keys = iter(jax.random.split(jax.random.key(seed), 4 * len(self.widths) * 3 + 2))

        def conv(size: int, before: int, width: int) -> dict[str, jax.Array]:
            shape = (size, size, before, width)
            scale = (2 / (size * size * before)) ** 0.5
            return {
                "w": jax.random.normal(next(keys), shape) * scale,
                "scale": jnp.ones(width),
                "offset": jnp.zeros(width),
            }

        found, before = {"initial": conv(3, 3, self.widths[0])}, self.widths[0]
        for number, width in enumerate(w for w in self.widths for _ in range(2)):
            name = f"block_{number}"
            found[f"{name}/conv_0"] = conv(3, before, width)
            found[f"{name}/conv_1"] = conv(3, width, width)
            if before != width:
                found[f"{name}/shortcut"] = conv(1, before, width)
            before = width
        head = jax.random.normal(next(keys), (before, 10)) * before**-0.5
        return found | {"logits": {"w": head, "b": jnp.zeros(10)}}

    def images(self, batch: int, size: int, seed: int = 1) -> jax.Array:
        """Random images, `(batch, size, size, 3)`."""
        return jax.random.normal(jax.random.key(seed), (batch, size, size, 3))

    def loss(self, params: dict[str, Any], images: jax.Array) -> jax.Array:
        """The mean over the batch of the log-partition; a scalar."""
        x = jax.nn.relu(_conv(params["initial"], images, 1))
        for number in range(2 * len(self.widths)):
            name = f"block_{number}"
            own = params.get(f"{name}/shortcut")
            stride = 1 if own is None else 2
            short = x if own is None else _conv(own, x, stride)
            inner = jax.nn.relu(_conv(params[f"{name}/conv_0"], x, stride))
            x = jax.nn.relu(_conv(params[f"{name}/conv_1"], inner, 1) + short)
        logits = x.mean((1, 2)) @ params["logits"]["w"] + params["logits"]["b"]
        return jnp.mean(jax.nn.logsumexp(logits, -1))


def _conv(own: dict[str, jax.Array], x: jax.Array, stride: int) -> jax.Array:
    y = jax.lax.conv_general_dilated(
        x, own["w"], (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    y = (y - y.mean((0, 1, 2))) * jax.lax.rsqrt(y.var((0, 1, 2)) + 1e-5)
    return y * own["scale"] + own["offset"]
