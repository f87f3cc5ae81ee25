"""Checks that need eight devices, which a process must be told of before JAX starts.

    python tests/eight_devices.py noise traffic    # prints JSON

Tests call `found`, which runs it in a process of its own and keeps what it prints.
"""

import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    FLAG = "--xla_force_host_platform_device_count=8"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}".strip()

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import loren_jax
from loren_jax import lora, transforms
from loren_jax.evaluation import micro_batched
from loren_jax.evaluation.sharded import collectives, sharded

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
        return jax.tree.map(draw, self.shapes, is_leaf=_is_tuple)

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
    return losses, jax.tree.map(np.asarray, params), step._cache_size()


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


def steps():
    """The same steps with population, data and model axes at once."""
    network = Network()
    mesh = {"2x2x2": evaluation_of(2, 2, 2)}
    make = OPTIMIZERS["loren rank 1"]
    return compared(make, mesh, network.params(), network.batch(), network.loss)


def more_steps():
    """Other methods, half precision, an adapter, the materialised evaluation."""
    network = Network()
    batch, loss = network.batch(), network.loss
    mesh = {"2x2x2": evaluation_of(2, 2, 2)}
    found = {
        name: compared(OPTIMIZERS[name], mesh, network.params(), batch, loss)
        for name in ("loren", "hizoo", "mezo")
    }
    uneven = {"3x2x1": evaluation_of(3, 2, 1), "8x1x1": evaluation_of(8, 1, 1)}
    found["uneven"] = compared(OPTIMIZERS["mezo"], uneven, network.params(), batch, loss)
    half = network.params(jnp.bfloat16)
    # A step so long that the losses differ by more than half precision rounds.
    long = functools.partial(OPTIMIZERS["loren rank 1"], perturbation_scale=0.2)
    found["bfloat16"] = compared(long, mesh, half, batch, loss)
    dense = {"2x2x2": evaluation_of(2, 2, 2, evaluation=loren_jax.evaluation.materialised)}
    make = OPTIMIZERS["loren rank 1"]
    found["materialised"] = compared(make, dense, network.params(), batch, loss)
    found["lora"] = adapters(network)
    return found


def methods():
    """One step of every other method, of a network that is compiled soon."""
    from methods import METHODS

    network, done = Network(1, 8, 16, 16), ("mezo", "hizoo")
    mesh = {"2x2x2": evaluation_of(2, 2, 2)}
    data = (network.params(), network.batch(), network.loss)
    found = {}
    for name in METHODS:
        if name.startswith("loren") or name in done:
            continue
        method = METHODS[name]
        knobs = {"perturbation_scale": 1e-2} | method.knobs
        make = functools.partial(method.make, method.learning_rate, **knobs)
        found[name] = compared(make, mesh, *data)
    return found


def adapters(network):
    """Adapters are trained, the model's own weights are sharded."""
    evaluation = evaluation_of(2, 2, 2)
    whole = sharded(evaluation.mesh, population="population", data="data")
    model = jax.tree.map(jnp.asarray, network.params())
    start = lora.init(model, ("*/up", "*/down"), rank=2)
    adapted = lora.adapt(network.loss, scale=2.0)
    loss = lambda adapters, model, ids, target: adapted(model, adapters, ids, target)
    make = OPTIMIZERS["loren rank 1"]
    expected = run(make, None, start, (model, *network.batch()), loss)[0]
    placed = evaluation.place(network.params())
    optimizer = make(evaluation=whole)
    state = whole.start(optimizer, whole.place(start))
    step = loren_jax.train_step(loss, optimizer)
    params, batch = whole.place(start), whole.place_batch(network.batch())
    for _ in range(2):
        params, state = step(params, state, placed, *batch)
    own = np.asarray(optax.tree.get(state, "losses"), np.float64)
    return {"2x2x2": {"losses": float(np.abs(own - expected).max()), "params": 0.0}}


def trained():
    """Whole runs: adapters beside sharded weights, by a method that needs all examples at once."""
    from tiny_task import write_model, write_task

    from loren_jax import journal
    from loren_jax.train import METHODS, TrainConfig, train
    from loren_jax.train.cluster import ALONE, Cluster
    from loren_jax.train.cluster.alone import Alone

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_model(place / "encoder")
        write_task(place / "tasks", train=80)
        config = TrainConfig(
            optimizer=METHODS["mezo_svrg"].options(learning_rate=0.05, every=2),
            model=str(place / "encoder"),
            data="sst2",
            data_dir=place / "tasks",
            pooling="mean",
            steps=4,
            batch_size=8,
            micro_batch_size=4,
            train_examples=40,
            dev_examples=16,
            eval_every=2,
            keyframe_every=3,
            lora_rank=2,
        )
        runs = {}
        for axes in ("one", "2x2x2"):
            sizes = {"population": 2, "data": 2, "model": 2}
            cluster = ALONE if axes == "one" else Cluster(Alone(), sizes)
            run = train(dataclasses.replace(config, output=place / axes), cluster)
            losses = journal.read(place / axes / "run.journal").losses
            runs[axes] = np.asarray(losses, np.float64), run.summary
        (one, summary), (other, found) = runs.values()
        scores = lambda summary: (summary.accuracy_after, summary.test.accuracy)
        return {
            "losses": float(np.abs(one - other).max()),
            "same scores": scores(summary) == scores(found),
        }


def noise():
    """Directions, bit by bit, on 1, 2, 4 and 8 devices, and what is sent in order to draw them."""
    shapes = {"word": {"embedding": (80, 24)}, "layers": {"up": (2, 96, 200), "down": (2, 200, 96)}}
    zeros = jax.tree.map(lambda shape: np.zeros(shape, np.float32), shapes, is_leaf=_is_tuple)
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
    params = jax.tree.map(struct, network.shapes, is_leaf=_is_tuple)
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
        number = sum(np.prod(s) for s in jax.tree.leaves(network.shapes, is_leaf=_is_tuple))
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


def _is_tuple(x):
    return isinstance(x, tuple)


def explicit():
    """Axes whose types say how arrays are sharded; halves; and a mesh that is set for all."""
    network = Network()
    make = OPTIMIZERS["loren rank 1"]
    arguments = (network.params(), network.batch(), network.loss)
    expected, found = run(make, None, *arguments)[0], {}
    for kind in (AxisType.Explicit, AxisType.Auto):
        evaluation = evaluation_of(2, 2, 2, kind=kind)
        with jax.set_mesh(evaluation.mesh):
            own = run(make, evaluation, *arguments)[0]
        found[kind.name] = float(np.abs(own - expected).max())
    evaluation = evaluation_of(2, 2, 2, kind=AxisType.Explicit)
    optimizer = make(evaluation=evaluation)
    halves = transforms.halves(network.loss, optimizer)
    params = evaluation.place(network.params())
    state = evaluation.start(optimizer, params)
    batch = evaluation.place_batch(network.batch())
    for _ in range(2):
        losses = halves.probe(params, state, *batch)
        params, state = halves.absorb(params, state, losses)
    found["halves"] = float(np.abs(np.asarray(losses) - expected).max())
    found["type"] = str(jax.typeof(params["layers"]["up"]))
    return found


def reading():
    """A checkpoint read part by part: the same parameters, each part read once."""
    from models.tiny_checkpoints import TinyCheckpoint
    from tiny_decoders import RAW

    from loren_jax.checkpoints.safetensors_files import SafetensorsFile
    from loren_jax.models import load_language_model, tensor_parallel

    read = []
    whole_part = SafetensorsFile.read_part

    def listened(self, name, index):
        part = whole_part(self, name, index)
        read.append((name, part.size / np.prod(self.shape(name))))
        return part

    SafetensorsFile.read_part = listened
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        raw = RAW["llama"] | {"vocab_size": 16, "intermediate_size": 24}
        path = TinyCheckpoint(raw, head="language_model").write(Path(directory) / "tiny")
        expected = load_language_model(path).params
        for kind in (AxisType.Auto, AxisType.Explicit):
            read.clear()
            mesh, rule = mesh_of(2, 1, 4, kind=kind), tensor_parallel("model", 4)
            place = lambda path, shape, mesh=mesh, rule=rule: NamedSharding(mesh, rule(path, shape))
            params = load_language_model(path, sharding=place).params
            up = params["layers"]["up"]["kernel"]
            down = [share for name, share in read if "down_proj" in name]
            found[kind.name] = {
                "equal": jax.tree.all(jax.tree.map(np.array_equal, params, expected)),
                "spec": str(up.sharding.spec),
                "part": up.addressable_shards[0].data.shape,
                "down": down,
                "norm": [share for name, share in read if name == "model.norm.weight"],
            }
    return found


@functools.cache
def found(*checks):
    """What checks found, of a process with eight devices; run once."""
    root = Path(__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-W", "error", __file__, *checks],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])},
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return json.loads(result.stdout.splitlines()[-1])


CHECKS = {
    "reading": reading,
    "steps": steps,
    "more_steps": more_steps,
    "methods": methods,
    "trained": trained,
    "noise": noise,
    "traffic": traffic,
    "more_traffic": more_traffic,
    "explicit": explicit,
}

if __name__ == "__main__":
    jax.config.update("jax_numpy_rank_promotion", "raise")
    print(json.dumps({name: CHECKS[name]() for name in sys.argv[1:]}))
