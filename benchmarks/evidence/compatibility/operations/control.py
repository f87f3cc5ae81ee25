"""Loops, branches, generation, callbacks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import io_callback

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import mean_square, normal

cases = Cases("jax")
X, TEXTS = normal(0, 8, 16), normal(4, 2, 8, 16)
KERNEL = {"kernel": normal(1, 16, 16)}
SCALAR = jax.ShapeDtypeStruct((), jnp.float32)


def converged(p):
    """A loop that ends when nothing changes."""

    def body(state):
        new = 0.5 * jnp.tanh(p["kernel"] @ state[0]) + X[0]
        return new, state[1] + 1, jnp.mean((new - state[0]) ** 2)

    going = lambda state: (state[1] < 50) & (state[2] > 1e-6)
    return mean_square(lax.while_loop(going, body, (X[0], 0, jnp.float32(1)))[0])


def carried(p):
    """The weight goes along unchanged."""
    body = lambda _, state: (state[0], jnp.tanh(state[1] @ state[0]))
    return mean_square(lax.fori_loop(0, 3, body, (p["kernel"], X))[1])


def branched(p):
    """By the sum of the weight."""
    ways = lambda w: mean_square(X @ w), lambda w: mean_square(X @ w.T)
    return lax.cond(jnp.sum(p["kernel"]) > 0, *ways, p["kernel"])


def squared(p):
    """The weight is changed by the loop."""
    body = lambda _, w: w @ w * 0.5 + w
    return mean_square(X @ lax.fori_loop(0, 3, body, p["kernel"]))


outside = lambda w: np.float32(np.mean((np.asarray(X) @ w - 1) ** 2))
seen = lambda p: jax.debug.callback(lambda _: None, jnp.sum(p["kernel"]))
nested = jax.jit(lambda w: jax.jit(lambda v: X @ v)(w))
dropped = lambda x: jnp.where(jax.random.bernoulli(jax.random.key(9), 0.5, (8, 16)), x, 0)
losses = {
    "while_loop until nothing changes": converged,
    "weight changed in a loop": squared,
    "weight carried unchanged": carried,
    "cond by a weight": branched,
    "jit in jit": lambda p: mean_square(nested(p["kernel"])),
    "dropout by a key": lambda p: mean_square(dropped(X @ p["kernel"])),
    "squeezed to a scalar": lambda p: jnp.squeeze(jnp.mean((X @ p["kernel"]) ** 2, keepdims=True)),
    "median of sorted activations": lambda p: jnp.median(jnp.sort((X @ p["kernel"]) ** 2, -1)),
    "debug.callback": lambda p: (seen(p), mean_square(X @ p["kernel"]))[1],
    "pure_callback, sequential": lambda p: jax.pure_callback(
        outside, SCALAR, p["kernel"], vmap_method="sequential"
    ),
}
cases.of(KERNEL, losses)
now = lambda: io_callback(lambda: np.float32(0), SCALAR, ordered=True)
losses = {
    "pure_callback, no vmap_method": lambda p: jax.pure_callback(outside, SCALAR, p["kernel"]),
    "io_callback, ordered": lambda p: mean_square(X @ p["kernel"]) + now(),
}
cases.of(KERNEL, losses, options={"chunk_size": 1}, remark="chunk_size=1")

two = {"a": normal(1, 16, 16), "b": normal(2, 16, 16)}
ways = [lambda q: X @ q["a"], lambda q: X @ q["b"]]
switched = lambda p: lax.switch(jnp.argmax(X[0]) % 2, ways, p)
cases.of(two, {"switch by data": lambda p: mean_square(switched(p))})


def recurrent(p):
    """A layer in a scan over time."""
    step = lambda h, x: (jnp.tanh(x @ p["up"] + h @ p["on"] + p["bias"]), h)
    return mean_square(lax.scan(step, jnp.zeros((2, 16)), TEXTS.swapaxes(0, 1))[1])


cells = {"up": normal(1, 16, 16), "on": normal(2, 16, 16), "bias": jnp.zeros(16)}
cases.of(cells, {"scan over time": recurrent})
layer = lambda h, own: (jnp.tanh(h @ own["kernel"] + own["bias"]), None)
stack = {"kernel": normal(1, 4, 16, 16), "bias": jnp.zeros((4, 16))}
backward = functools.partial(lax.scan, reverse=True, unroll=2)
cases.of(
    stack, {"scan over layers, reverse, unroll=2": lambda p: mean_square(backward(layer, X, p)[0])}
)


def emitted(p):
    """The layers come out of the scan too."""
    step = lambda h, w: (jnp.tanh(h @ w), w)
    last, weights = lax.scan(step, X, p["kernel"])
    return mean_square(last) + 1e-3 * jnp.sum(weights**2)


def grouped(p):
    """A scan of scans."""
    one = lambda h, w: (jnp.tanh(h @ w), None)
    group = lambda h, weights: lax.scan(one, h, weights)
    return mean_square(lax.scan(group, X, p["kernel"].reshape(2, 2, 16, 16))[0])


losses = {"scan over layers that emits them": emitted, "scan of scans, reshaped": grouped}
cases.of({"kernel": normal(1, 4, 16, 16)}, losses)
stacked = lambda p: lax.scan(lambda h, w: (jnp.tanh(h @ w), None), X, jnp.stack(p))[0]
layers = [normal(i, 16, 16) for i in range(3)]
cases.of(layers, {"jnp.stack, then scan": lambda p: mean_square(stacked(p))})


def state_space(p):
    """By an associative scan."""
    inputs = TEXTS @ p["b"]
    decay = jnp.broadcast_to(jnp.exp(p["a"]), inputs.shape)
    join = lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1])
    return mean_square(lax.associative_scan(join, (decay, inputs), axis=1)[1] @ p["c"])


linear = {"a": -jnp.abs(normal(1, 16)), "b": normal(2, 16, 16), "c": normal(3, 16, 4)}
cases.of(linear, {"associative_scan (S5)": state_space})


def sampled(p):
    """Eight tokens with a cache, drawn; how many are not 3."""

    def step(state, place):
        cache, token, key = state
        x = p["embedding"][token]
        cache = cache.at[:, place].set(x @ p["key"])
        scores = jnp.where(jnp.arange(8) <= place, jnp.einsum("bd,btd->bt", x, cache), -1e9)
        out = jnp.einsum("bt,btd->bd", jax.nn.softmax(scores), cache)
        key, own = jax.random.split(key)
        token = jax.random.categorical(own, out @ p["embedding"].T)
        return (cache, token, key), token

    start = jnp.zeros((2, 8, 16)), jnp.array([1, 2]), jax.random.key(7)
    return jnp.mean((lax.scan(step, start, jnp.arange(8))[1] != 3).astype(jnp.float32))


def greedy(p):
    """Tokens until all are 0."""

    def body(state):
        place, token, out = state
        scores = jnp.tanh(p["embedding"][token] @ p["key"]) @ p["embedding"].T
        token = jnp.argmax(scores, -1)
        return place + 1, token, out.at[:, place].set(token)

    going = lambda state: (state[0] < 8) & ~jnp.all(state[1] == 0)
    start = 0, jnp.array([1, 2]), jnp.zeros((2, 8), int)
    return jnp.mean(jnp.abs(lax.while_loop(going, body, start)[2] - 5).astype(jnp.float32))


words = {"embedding": normal(1, 8, 16) * 3, "key": normal(2, 16, 16)}
generated = {"generation with a cache, categorical": sampled, "generation, greedy": greedy}
cases.of(words, generated, scale=0.3)
right = lambda p: jnp.argmax(X @ p["kernel"], -1) != jnp.arange(8) % 4
losses = {"share of wrong answers": lambda p: jnp.mean(right(p).astype(jnp.float32))}
cases.of({"kernel": normal(1, 16, 4)}, losses, scale=0.3)
