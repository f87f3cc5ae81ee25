"""Convolutions with one kernel, a row each as in `weight_programs`."""

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax.types import MatrixAxes

RNG = np.random.default_rng(3)
IMAGE = jnp.asarray(RNG.normal(size=(2, 6, 5, 4)), jnp.float32)
WHOLE = MatrixAxes((0, 1, 2), 3)


def kernel(*shape):
    return jnp.asarray(RNG.normal(size=shape) * 0.3, jnp.float32)


def convolved(numbers=("NHWC", "HWIO", "NHWC"), strides=(1, 1), padding="SAME", **options):
    """Of a kernel, its convolution with the image, whose axes come as the first letters say."""
    image = jnp.transpose(IMAGE, ["NHWC".index(letter) for letter in numbers[0]])

    def function(w):
        x = image.astype(w.dtype)
        return jax.lax.conv_general_dilated(
            x, w, strides, padding, dimension_numbers=numbers, **options
        )

    return function


def of_one_channel(w):
    x = IMAGE[..., :1].astype(w.dtype)
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, w, (1, 2), "SAME", dimension_numbers=numbers)


def over_kernels(w):
    return jax.vmap(convolved())(w)


def over_images(w):
    one = lambda x: jax.lax.conv(jnp.transpose(x, (2, 0, 1))[None], w, (1, 1), "SAME")
    return jax.vmap(one)(IMAGE.astype(w.dtype))


def transposed(w):
    return jax.lax.conv_transpose(IMAGE.astype(w.dtype), w, (2, 1), "SAME")


CASES = {
    "kernel of one matrix": (kernel(3, 2, 4, 8), WHOLE, convolved(), []),
    "kernel of a matrix a place": (kernel(3, 2, 4, 16), None, convolved(), []),
    "kernel of a first layer": (kernel(3, 3, 1, 8), WHOLE, of_one_channel, []),
    "kernel of a first layer, a matrix a place": (kernel(3, 3, 1, 24), None, of_one_channel, []),
    "kernel with few channels": (kernel(3, 3, 4, 8), None, convolved(), ["conv_general_dilated"]),
    "kernel, out first": (
        kernel(8, 4, 3, 2),
        MatrixAxes((1, 2, 3), 0),
        convolved(("NCHW", "OIHW", "NCHW"), (2, 1), "VALID"),
        [],
    ),
    "kernel, dilated": (
        kernel(2, 2, 4, 8),
        WHOLE,
        convolved(lhs_dilation=(2, 1), rhs_dilation=(1, 2), padding=[(1, 0), (0, 2)]),
        [],
    ),
    "kernel in groups": (kernel(2, 2, 2, 12), WHOLE, convolved(feature_group_count=2), []),
    "kernel of many groups": (
        kernel(2, 2, 1, 8),
        WHOLE,
        convolved(feature_group_count=4),
        ["conv_general_dilated"],
    ),
    "kernel, batches in groups": (
        kernel(2, 2, 4, 8),
        WHOLE,
        convolved(batch_group_count=2),
        ["conv_general_dilated"],
    ),
    "kernel of a transposed convolution": (kernel(3, 3, 4, 8), WHOLE, transposed, []),
    "kernel under vmap over images": (
        kernel(8, 4, 3, 2),
        MatrixAxes((1, 2, 3), 0),
        over_images,
        [],
    ),
    "stacked kernels under vmap": (
        kernel(2, 2, 2, 4, 8),
        MatrixAxes((1, 2, 3), 4),
        over_kernels,
        ["reshape"],
    ),
    "kernel turned round": (
        kernel(3, 2, 4, 8),
        WHOLE,
        lambda w: convolved()(w[::-1, ::-1]),
        [],
    ),
    "kernel as an image": (
        kernel(2, 6, 5, 4),
        WHOLE,
        lambda w: jax.lax.conv(w, jnp.ones((3, 6, 2, 2), w.dtype), (1, 1), "SAME"),
        ["conv_general_dilated"],
    ),
}
