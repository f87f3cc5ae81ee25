"""A small network, and how its steps on a mesh differ from those on one device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import loren_jax
from loren_jax.evaluation import sharded

NAMES = ("population", "data", "model")
ROWS = 8


class Network:
    """An embedding, two kernels a layer, and logits tied to the embedding."""

    def __init__(self, layers=2, width=32, hidden=64, words=48):
        kernels = {"up": (layers, width, hidden), "down": (layers, hidden, width)}
        self.shapes = {"word": {"embedding": (words, width)}, "layers": kernels}
        self.words = words

    def params(self, dtype=jnp.float32):
        rng = np.random.default_rng(0)
        draw = lambda shape: (rng.normal(size=shape) / shape[-1] ** 0.5).astype(dtype)
        return jax.tree.map(draw, self.shapes, is_leaf=is_tuple)

    def batch(self):
        ids = np.random.default_rng(1).integers(0, self.words, (ROWS, 6))
        return ids[:, :-1].astype(np.int32), ids[:, -1].astype(np.int32)

    @staticmethod
    def loss(params, ids, target):
        def layer(x, kernels):
            return x + jnp.tanh(x @ kernels["up"]) @ kernels["down"], None

        x, _ = jax.lax.scan(layer, jnp.take(params["word"]["embedding"], ids, 0), params["layers"])
        logits = (x.mean(1) @ params["word"]["embedding"].T).astype(jnp.float32)
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, None], 1)
        return -jnp.mean(picked)


def weights(path, shape):
    """Columns, rows, words."""
    places = {"layers/up": P(None, None, "model"), "layers/down": P(None, "model", None)}
    return places.get(path, P("model", None))


def mesh_of(*sizes, kind=AxisType.Auto):
    devices = np.array(jax.devices()[: np.prod(sizes)]).reshape(sizes)
    return jax.sharding.Mesh(devices, NAMES, axis_types=(kind,) * 3)


def evaluation_of(*sizes, kind=AxisType.Auto, **options):
    placed = weights if sizes[2] > 1 else None
    mesh = mesh_of(*sizes, kind=kind)
    return sharded(mesh, population="population", data="data", weights=placed, **options)


OPTIMIZERS = {
    "loren rank 1": functools.partial(loren_jax.loren, 0.02, rank=1, num_directions=4),
    "loren": functools.partial(loren_jax.loren, 0.01, num_directions=4),
    "mezo": functools.partial(loren_jax.mezo, 0.02, num_directions=2),
    "hizoo": functools.partial(loren_jax.hizoo, 0.02, num_directions=2),
}


def run(make, evaluation, params, batch, loss, steps=2):
    """Losses of the last step, the parameters, and how often the step was compiled."""
    optimizer = make(evaluation=evaluation)
    step = loren_jax.train_step(loss, optimizer, full_loss=lambda params: loss(params, *batch))
    if evaluation is None:
        params = jax.tree.map(jnp.array, params)
        state = optimizer.init(params)
    else:
        params = evaluation.place(params)
        state = evaluation.start(optimizer, params)
        batch = evaluation.place_batch(batch)
    for _ in range(steps):
        params, state = step(params, state, *batch)
    losses = np.asarray(optax.tree.get(state, "losses"), np.float64)
    return losses, jax.tree.map(np.asarray, params), step.compiled._cache_size()


def compared(make, evaluations, params, batch, loss):
    """How far each evaluation is from the one on a single device, relative to what has moved."""
    losses, expected, _ = run(make, None, params, batch, loss)
    flat = lambda x: x.ravel().astype(np.float64)
    wide = lambda tree: np.concatenate([flat(x) for x in jax.tree.leaves(tree)])
    moved = np.linalg.norm(wide(expected) - wide(params))
    found = {}
    for name, evaluation in evaluations.items():
        own, reached, compiled = run(make, evaluation, params, batch, loss)
        found[name] = {
            "losses": float(np.abs(own - losses).max()),
            "params": float(np.linalg.norm(wide(reached) - wide(expected)) / moved),
            "compiled": compiled,
        }
    return found


def is_tuple(x):
    return isinstance(x, tuple)
