"""What acts on every entry by itself."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..drafts import Draft, Value, need
from ..precision import FLOATS, OTHERS, is_floating, is_integer, text_of
from .meshes import mesh, sharded_axis, spec
from .table import add, operation

UNARY = [
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "bessel_i0e",
    "bessel_i1e",
    "cbrt",
    "ceil",
    "cos",
    "cosh",
    "digamma",
    "erf",
    "erf_inv",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "is_finite",
    "lgamma",
    "log",
    "log1p",
    "log2",
    "one_minus_square",
    "logistic",
    "reciprocal",
    "round",
    "rsqrt",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "bitwise_not",
    "clz",
    "population_count",
    "conj",
    "real",
    "imag",
]
KEEPING = ["neg", "stop_gradient", "optimization_barrier", "stage", "dce_sink"]
BINARY = [
    "add",
    "sub",
    "max",
    "min",
    "pow",
    "atan2",
    "rem",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "shift_left",
    "shift_right_arithmetic",
    "shift_right_logical",
    "mulhi",
    "complex",
]
POSITIVE = ["igamma", "igammac", "igamma_grad_a", "random_gamma_grad", "zeta", "polygamma"]
INTEGERS = [
    "bitwise_not",
    "clz",
    "population_count",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "shift_left",
    "shift_right_arithmetic",
    "shift_right_logical",
    "mulhi",
    "reduce_and",
    "reduce_or",
    "reduce_xor",
]


def converted(draft: Draft, x: Value, name: str) -> Any:
    """What goes into functions of some types only: the value, or a cast of it."""
    if name in INTEGERS and not is_integer(x.dtype):
        dtype = draft.choice([np.dtype(np.int32), np.dtype(np.int8), np.dtype(np.uint8)])
        if name == "mulhi":
            dtype = np.dtype(np.int32)
        return lambda v: (v.real if jnp.iscomplexobj(v) else v).astype(dtype), dtype
    if name in ("conj", "real", "imag") and is_floating(x.dtype):
        return lambda v: v * jnp.asarray(1 - 0.5j, jnp.result_type(v.dtype, jnp.complex64)), None
    return lambda v: v, x.dtype


def _unary(name: str) -> Any:
    function = getattr(lax, name, None)

    def make(draft: Draft, x: Value) -> Any:
        cast, _ = converted(draft, x, name)
        return "", lambda t, v: function(cast(v)), ()

    return make


def _binary(name: str, *, positive: bool = False) -> Any:
    function = getattr(lax, name, None)

    def make(draft: Draft, x: Value) -> Any:
        cast, dtype = converted(draft, x, name)
        scalar = draft.flip(0.2)
        if positive:
            # Series of the neighbourhood of zero and of negative numbers are no smooth functions.
            whole = np.asarray(draft.rng.choice([1.0, 2.0], x.shape)).astype(x.dtype)
            y = whole if name == "polygamma" else draft.array(x.shape, x.dtype, positive=True)
            side = name == "polygamma" or draft.flip()
            more = lambda v: lax.abs(v) + jnp.asarray(1.5, v.dtype)
            both = lambda v, y: (y, more(v)) if side else (more(v), more(y))
            return f"side {int(side)}", lambda t, v, y: function(*both(v, y)), (y,)
        y = draft.array((), dtype) if scalar else draft.operand(x.shape, dtype)
        if name.startswith("shift"):
            y = draft.array(x.shape, dtype, positive=True)
        swapped = draft.flip()
        pair = lambda v, y: (y, v) if swapped else (v, y)
        text = "swapped" if swapped else ""
        if cast is not None and not isinstance(y, np.ndarray):
            return text, lambda t, v, y: function(*pair(cast(v), cast(y))), (y,)
        full = lambda v, y: jnp.broadcast_to(y, v.shape) if name == "complex" else y
        return text, lambda t, v, y: function(*pair(cast(v), full(v, y))), (y,)

    return make


for _name in UNARY:
    add(_name, _unary(_name), (_name,))
for _name in KEEPING:
    add(_name, _unary(_name), (_name,), keeps=True)
for _name in BINARY:
    add(_name, _binary(_name), (_name,))
for _name in POSITIVE:
    add(_name, _binary(_name, positive=True), (_name,))
for _name in ("mul", "div"):
    add(_name, _binary(_name), (_name,))


@operation("scaled", "mul", "div", keeps=True)
def scaled(draft: Draft, x: Value) -> Any:
    """By a number of any type and shape that JAX broadcasts, a traced or a Python one."""
    need(is_floating(x.dtype))
    name = draft.choice(["mul", "div", "rmul", "square"])
    by = draft.array(draft.choice([(), (), (1,) * x.ndim]), draft.dtype(x.dtype), positive=True)
    if draft.flip(0.3):
        number = draft.choice([2, 0.5, -1.5, 3])
        return f"{name} by {number}", lambda t, v: v * number if name != "div" else v / number, ()
    if draft.flip(0.3):
        by = draft.operand((), x.dtype, 1.0)
    function = {
        "mul": lambda v, b: v * b,
        "rmul": lambda v, b: b * v,
        "div": lambda v, b: v / b,
        "square": lambda v, b: v * b * b,
    }[name]
    return name, lambda t, v, b: function(v, b), (by,)


@operation("convert_element_type", keeps=True)
def convert(draft: Draft, x: Value) -> Any:
    """To any type."""
    kinds = [d for n, d in FLOATS.items() if n != "f64" or x.dtype == np.float64]
    dtype = draft.choice(kinds * 2 + list(OTHERS.values()))
    need(not jnp.issubdtype(x.dtype, jnp.complexfloating) or dtype == np.complex64)
    apply = lambda t, v: lax.convert_element_type(v, t(dtype))
    return text_of(dtype, ()), apply, ()


@operation("bitcast_convert_type")
def bitcast(draft: Draft, x: Value) -> Any:
    """The bits of a float as an integer and back; of the drawn type in any precision."""
    need(is_floating(x.dtype))
    whole = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}[x.dtype.itemsize]
    back = draft.flip()

    def apply(t: Any, v: Any) -> Any:
        bits = lax.bitcast_convert_type(v.astype(x.dtype), whole)
        return lax.bitcast_convert_type(bits, x.dtype).astype(t(x.dtype)) if back else bits

    return "and back" if back else "", apply, ()


@operation("nextafter")
def nextafter(draft: Draft, x: Value) -> Any:
    """In the drawn type."""
    y = draft.array(x.shape, x.dtype)
    apply = lambda t, v, y: lax.nextafter(v.astype(x.dtype), y.astype(x.dtype)).astype(t(x.dtype))
    return "", apply, (y,)


@operation("reduce_precision")
def reduce_precision(draft: Draft, x: Value) -> Any:
    """To more bits than the value has, or to a few."""
    bits = draft.choice([(8, 20), (8, 7), (5, 10)])
    return f"{bits}", lambda t, v: lax.reduce_precision(v, *bits), ()


@operation("integer_pow")
def integer_pow(draft: Draft, x: Value) -> Any:
    """Small powers, negative ones too."""
    power = draft.choice([0, 1, 2, 3, -1])
    return f"{power}", lambda t, v: lax.integer_pow(v, power), ()


@operation("polynomial")
def polynomial(draft: Draft, x: Value) -> Any:
    """The value as the variable or as a coefficient."""
    y = draft.operand(x.shape, x.dtype)
    as_variable = draft.flip()

    def apply(t: Any, v: Any, y: Any) -> Any:
        return lax.polynomial(v, [y, y, v]) if as_variable else lax.polynomial(y, [v, y, v])

    return "", apply, (y,)


@operation("betainc")
def betainc(draft: Draft, x: Value) -> Any:
    """At any of the three places."""
    a, b = draft.array(x.shape, x.dtype, positive=True), draft.array(x.shape, x.dtype)
    place = draft.integer(0, 2)

    def apply(t: Any, v: Any, a: Any, b: Any) -> Any:
        inside = lambda y: 0.1 + 0.8 * lax.logistic(y)
        order = [(lax.abs(v) + 1, a, inside(b)), (a, lax.abs(v) + 1, inside(b)), (a, a, inside(v))]
        return lax.betainc(*order[place])

    return f"place {place}", apply, (a, b)


@operation("clamp")
def clamp(draft: Draft, x: Value) -> Any:
    """As the value, or as the upper bound; bounds are scalars or arrays."""
    low, high = ([-0.75, 0.75] if is_floating(x.dtype) else [0, 2]) if x.dtype != bool else [0, 1]
    shape = draft.choice([(), x.shape])
    need(not jnp.issubdtype(x.dtype, jnp.complexfloating))
    low, high = (np.full(shape, v).astype(x.dtype) for v in (low, high))
    if draft.flip(0.2):
        return "upper", lambda t, v, y: lax.clamp(y, y, v), (draft.operand(x.shape, x.dtype),)
    return "", lambda t, v, low, high: lax.clamp(low, v, high), (low, high)


@operation("select", "select", "select_n")
def select(draft: Draft, x: Value) -> Any:
    """Any number of cases; the predicate a constant, a scalar or a comparison of the value."""
    shape = draft.choice([(), x.shape])
    y = draft.operand(x.shape, x.dtype)
    kind = draft.choice(["select", "select_n", "three", "of the value"])
    if kind == "three":
        which = np.asarray(draft.rng.integers(0, 3, shape), np.int32)
        return kind, lambda t, v, y, w: lax.select_n(w, v, y, v), (y, which)
    if kind == "of the value":
        need(not jnp.issubdtype(x.dtype, jnp.complexfloating))
        edge = lambda v: v > jnp.asarray(0.25).astype(v.dtype)
        return kind, lambda t, v, y: lax.select(edge(v), v, y), (y,)
    which = np.asarray(draft.rng.random(shape) < 0.5)
    function = getattr(lax, kind)
    return kind, lambda t, v, y, w: function(w, v, y), (y, which)


@operation("full_like", "full_like", "full")
def full_like(draft: Draft, x: Value) -> Any:
    """Filled with an entry of a value."""
    need(x.ndim and is_floating(x.dtype))
    entry = lambda v: v[(0,) * x.ndim]
    return "", lambda t, v: lax.full_like(v, entry(v)) + lax.full(x.shape, entry(v)), ()


@operation("with_sharding_constraint", keeps=True)
def constraint(draft: Draft, x: Value) -> Any:
    """On a mesh, one axis sharded or none."""
    axis = sharded_axis(draft, x)
    how = "whole" if draft.meshes else "single"
    place = lambda: jax.sharding.NamedSharding(mesh(how), spec(x, axis))
    return f"axis {axis}", lambda t, v: lax.with_sharding_constraint(v, place()), ()


@operation("iota", "iota", "broadcasted_iota")
def iota(draft: Draft, x: Value) -> Any:
    """Times the value."""
    axis = draft.axis(x)
    need(is_floating(x.dtype))
    return f"{axis}", lambda t, v: v * lax.broadcasted_iota(t(x.dtype), x.shape, axis), ()


@operation("rng_bit_generator")
def rng_bit_generator(draft: Draft, x: Value) -> Any:
    """Bits of a constant key, as factors; shifted, so that they are small."""
    need(is_floating(x.dtype))
    key = np.asarray(draft.rng.integers(0, 9, 4), np.uint32)

    def apply(t: Any, v: Any, key: Any) -> Any:
        _, bits = lax.rng_bit_generator(key, x.shape)
        return v * (bits >> 30).astype(t(x.dtype))

    return "", apply, (key,)


@operation("identity shapes", "jax.checkpoint_name", keeps=True)
def named(draft: Draft, x: Value) -> Any:
    """What names or copies a value."""
    from jax.ad_checkpoint import checkpoint_name

    copy = draft.flip()
    return (
        ("copy" if copy else "name"),
        lambda t, v: jnp.copy(v) if copy else checkpoint_name(v, "a"),
        (),
    )
