"""Low precision, whole numbers, complex numbers."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import mean_square, normal

cases = Cases("jax")
X = normal(0, 8, 16)
KERNEL = {"kernel": normal(1, 16, 16)}
CODES = jnp.asarray(np.random.RandomState(0).randint(-127, 127, (16, 16)), jnp.int8)
ROUNDED = "copies round the perturbation"


def coded(x):
    """Codes of 8 bits and their scale."""
    scale = jnp.max(jnp.abs(x)) / 127
    return jnp.round(x / scale).astype(jnp.int8), scale


def dot(a, b, kind=jnp.float32):
    """Of operands of two types."""
    return lax.dot_general(a, b, (((1,), (0,)), ((), ())), preferred_element_type=kind)


def both_coded(p):
    """Scales made anew in each pass."""
    (a, left), (b, right) = coded(X), coded(p["kernel"])
    return mean_square(dot(a, b, jnp.int32).astype(jnp.float32) * left * right)


def cut(p):
    """The lower half of the bits taken off."""
    bits = lax.bitcast_convert_type(p["kernel"], jnp.int32) & -65536
    return lax.bitcast_convert_type(bits, jnp.float32)


def faked(p):
    """Through codes of 8 bits and back."""
    scale = jnp.max(jnp.abs(p["kernel"]), 0) / 127
    return jnp.round(p["kernel"] / scale).astype(jnp.int8).astype(jnp.float32) * scale


half = lambda x: x.astype(jnp.bfloat16)
losses = {
    "fake-quantised to int8": lambda p: mean_square(X @ faked(p)),
    "int8 activations, dot_general": lambda p: mean_square(dot(CODES, p["kernel"]) * 0.01),
    "bfloat16 activations, float32 weight": lambda p: mean_square(dot(half(X), p["kernel"])),
    "int8 by int8, scales made in the loss": both_coded,
    "reduce_precision": lambda p: mean_square(X @ lax.reduce_precision(p["kernel"], 8, 7)),
    "bitcast_convert_type": lambda p: mean_square(X @ cut(p)),
    "precision=highest": lambda p: mean_square(jnp.dot(X, p["kernel"], precision="highest")),
}
cases.of(KERNEL, losses, scale=5e-2)
eight = lambda x: x.astype(jnp.float8_e4m3fn)
single = lambda a, b: jnp.dot(a, b, preferred_element_type=jnp.float32)
losses = {
    "cast to bfloat16 in the loss": lambda p: mean_square(
        (half(X) @ half(p["kernel"])).astype(jnp.float32)
    ),
    "cast to float8_e4m3 in the loss": lambda p: mean_square(single(eight(X), eight(p["kernel"]))),
}
cases.of(KERNEL, losses, scale=5e-2, tolerance=1.0, remark=ROUNDED)
low = {"scale": 5e-2, "tolerance": 0.5, "remark": ROUNDED}
float8 = lambda p: mean_square(X @ p["w"].astype(jnp.float32))
cases.of({"w": eight(normal(1, 16, 16))}, {"float8 parameters": float8}, **low)
bfloat = {"w": half(normal(1, 16, 16)), "b": jnp.zeros(16, jnp.bfloat16)}
value = lambda p: mean_square((half(X) @ p["w"] + p["b"]).astype(jnp.float32))
cases.of(bfloat, {"bfloat16 parameters": value}, **low)
narrow = lambda p: mean_square(X.astype(jnp.float16) @ p["w"])
cases.of({"w": normal(1, 16, 16).astype(jnp.float16)}, {"float16 parameters": narrow}, **low)
frozen = {"codes": CODES, "scale": jnp.full((16,), 0.01), "bias": jnp.zeros(16)}
decoded = lambda p: X @ (p["codes"].astype(jnp.float32) * p["scale"]) + p["bias"]
losses = {"int8 codes, frozen, scales trained": lambda p: mean_square(decoded(p))}
cases.of(frozen, losses, mask=lambda path: path != "codes")


def state_space(p):
    """Complex numbers of real parameters."""
    inputs = X[None].astype(jnp.complex64) @ lax.complex(p["b_real"], p["b_imag"])
    decay = jnp.broadcast_to(jnp.exp(p["l_real"] + 1j * p["l_imag"]), inputs.shape)
    join = lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1])
    _, states = lax.associative_scan(join, (decay, inputs), axis=1)
    return mean_square((states @ p["c"].astype(jnp.complex64)).real)


parts = {"l_real": -jnp.abs(normal(1, 16)), "l_imag": normal(2, 16), "c": normal(5, 16, 4)}
parts |= {"b_real": normal(3, 16, 16), "b_imag": normal(4, 16, 16)}
cases.of(parts, {"complex numbers of real parameters (S5)": state_space})
turned = lambda p: lax.complex(*jnp.split(X @ p["kernel"], 2, -1)) * jnp.exp(1j * jnp.arange(8.0))
cases.of(KERNEL, {"activations turned, complex": lambda p: mean_square(turned(p).real)})
pair = {"w": normal(1, 16, 8) + 1j * normal(2, 16, 8), "v": normal(3, 8, 8)}
losses = {"complex parameter, frozen": lambda p: mean_square((X @ p["w"]).real @ p["v"])}
cases.of(pair, losses, mask=lambda path: path == "v")
refused = {"complex parameter, trained": lambda p: mean_square(X @ p["w"])}
cases.of({"w": pair["w"]}, refused, remark="refused, as it should be: train its two parts")


@cases(float64=True)
def double():
    """Float64."""
    random = np.random.RandomState(0)
    params, x = {"w": random.randn(16, 16) * 0.3, "b": np.zeros(16)}, random.randn(8, 16)
    return params, lambda p: mean_square(jnp.tanh(x @ p["w"] + p["b"]))
