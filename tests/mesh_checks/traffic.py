"""What devices send, counted in compiled programs, and the noise that they draw for themselves."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from collectives import collectives
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from mesh_checks.meshes import OPTIMIZERS, Network, evaluation_of, is_tuple

import loren_jax
from loren_jax import transforms
from loren_jax.losses import micro_batched
from loren_jax.quantised import matrix, quantise


def noise():
    """Directions, bit by bit, on 1, 2, 4 and 8 devices, and what is sent in order to draw them."""
    shapes = {"word": {"embedding": (80, 24)}, "layers": {"up": (2, 96, 200), "down": (2, 200, 96)}}
    zeros = jax.tree.map(lambda shape: np.zeros(shape, np.float32), shapes, is_leaf=is_tuple)
    first, found = None, {}
    for sizes in ((1, 1, 1), (1, 1, 2), (2, 1, 2), (1, 1, 8)):
        evaluation = evaluation_of(*sizes)
        params = evaluation.place(zeros)
        make = functools.partial(
            loren_jax.mezo, 1.0, perturbation_scale=1.0, num_directions=2, evaluation=evaluation
        )
        optimizers = [make(rank=rank) for rank in (None, 1)]
        states = [evaluation.start(optimizer, params) for optimizer in optimizers]

        def ask(params, states, optimizers=optimizers):
            pairs = zip(optimizers, states, strict=True)
            return [optimizer.ask(params, state, 1, 0) for optimizer, state in pairs]

        compiled = jax.jit(ask).lower(params, states).compile()
        drawn = jax.tree.map(np.asarray, compiled(params, states))
        first = drawn if first is None else first
        found["x".join(map(str, sizes))] = {
            "equal": jax.tree.all(jax.tree.map(np.array_equal, drawn, first)),
            "sent": sum(c.bytes for c in collectives(compiled)),
            "spread": [float(np.std(tree["layers"]["up"])) for tree in drawn],
        }
    return found


def sent_by(network, make, evaluation, *names):
    """Bytes sent by programs of a network that is never built."""
    optimizer = make(evaluation=evaluation)
    struct = lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    params = jax.tree.map(struct, network.shapes, is_leaf=is_tuple)
    place = lambda tree, specs: jax.tree.map(
        lambda x, spec: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=NamedSharding(evaluation.mesh, spec)
        ),
        tree,
        specs,
    )
    state = jax.eval_shape(optimizer.init, params)
    state = place(state, evaluation.state_specs(state, params))
    params = place(params, evaluation.specs(params))
    batch = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in network.batch()]
    batch = place(batch, [P("data")] * len(batch))
    losses = jax.ShapeDtypeStruct(optax.tree.get(state, "losses").shape, jnp.float32)
    programs = {
        "sent": (loren_jax.train_step(network.loss, optimizer), (params, state, *batch)),
        "absorb": (transforms.compiled_absorb(optimizer), (params, state, losses)),
        "forward": (jax.jit(network.loss), (params, *batch)),
    }
    return {name: sent(programs[name][0].lower(*programs[name][1]).compile()) for name in names}


def sent(compiled):
    """Bytes that each device gets in one run of a program."""
    return sum(c.bytes * c.times for c in collectives(compiled))


def traffic():
    """Bytes of a step over population and data, and over the model beside a forward pass."""
    sizes = {"1M": (4, 128, 512, 4096), "25M": (8, 512, 2048, 16384)}
    make, found = OPTIMIZERS["loren rank 1"], {}
    for name, own in sizes.items():
        network = Network(*own)
        number = sum(np.prod(s) for s in jax.tree.leaves(network.shapes, is_leaf=is_tuple))
        found[name] = {"parameters": int(number)}
        found[name] |= sent_by(network, make, evaluation_of(4, 2, 1), "sent", "absorb")
    return found | {"model, loren rank 1": model_traffic("loren rank 1")}


def more_traffic():
    """The same with noise drawn where it is used, with a state of the model; and in parts."""
    found = {f"model, {name}": model_traffic(name) for name in ("mezo", "hizoo")}
    network = Network()
    mean = network.loss
    split = lambda params, batch: mean(params, *batch)
    network.loss = lambda params, *batch: micro_batched(split, batch, 4)(params)
    own = sent_by(network, OPTIMIZERS["loren rank 1"], evaluation_of(4, 2, 1), "sent")
    return found | {"micro-batches": own}


def model_traffic(name):
    """Bytes over the model."""
    network, evaluation = Network(2, 128, 512, 512), evaluation_of(1, 2, 4)
    return sent_by(network, OPTIMIZERS[name], evaluation, "sent", "absorb", "forward")


def packed_traffic():
    """Bytes of a step that trains the scales of divided matrices, beside passes with floats."""
    network = Network(width=64, hidden=128, words=256)
    evaluation = evaluation_of(2, 1, 4)
    own = sent_by(network, OPTIMIZERS["loren rank 1"], evaluation, "forward")
    matrix.AT_ONCE = 1 << 11  # as large ones: several parts of every matrix
    packed = {
        "word": quantise(np.ones((256, 64)), "int4", kernel=False),
        "up": quantise(np.ones((2, 64, 128)), "int4"),
        "down": quantise(np.ones((2, 128, 64)), "int4"),
    }
    scales = {name: x.scales.astype(jnp.float32) for name, x in packed.items()}
    specs = {"word": P("model"), "up": P(None, "model"), "down": P(None, None, "model")}

    def loss(scales, packed, ids, target):
        whole = {n: dataclasses.replace(x, scales=scales[n]) for n, x in packed.items()}

        def layer(x, kernels):
            return x + kernels["down"].product(jnp.tanh(kernels["up"].product(x))), None

        x, word = whole["word"].look_up(ids), whole.pop("word")
        x, _ = jax.lax.scan(layer, x, whole)
        logits = word.product(x.mean(1))
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), target[:, None], 1))

    placed = dataclasses.replace(evaluation, weights=lambda path, shape: specs[path])
    optimizer = OPTIMIZERS["loren rank 1"](evaluation=placed)
    params = placed.place(scales)
    state = placed.start(optimizer, params)
    put = lambda name, x: jax.device_put(x, NamedSharding(evaluation.mesh, specs[name]))
    packed = {n: jax.tree.map(functools.partial(put, n), x) for n, x in packed.items()}
    batch = (packed, *placed.place_batch(network.batch()))
    step = loren_jax.train_step(loss, optimizer)
    return own | {"sent": sent(step.lower(params, state, *batch).compile())}
