"""Steps on a mesh beside those of one device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType
from mesh_checks.meshes import OPTIMIZERS, Network, compared, evaluation_of, run

import loren_jax
from loren_jax import lora
from loren_jax.evaluation import sharded


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


OTHERS = (
    "adamezo",
    "grzo",
    "input_subspace",
    "lozo",
    "mezo signs",
    "mezo_bcd",
    "mezo_svrg",
    "subzero",
    "tezo",
)
"""Methods with directions or parts of their own; what comes behind an estimate sees no mesh."""


def methods():
    """One step of each of the others, of a network that is compiled soon."""
    from methods import METHODS

    network = Network(1, 8, 16, 16)
    mesh = {"2x2x2": evaluation_of(2, 2, 2)}
    data = (network.params(), network.batch(), network.loss)
    found = {}
    for name in OTHERS:
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


def explicit():
    """Axes whose types say how arrays are sharded; the step in two; a mesh that is set for all."""
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
    step = loren_jax.train_step(network.loss, optimizer)
    params = evaluation.place(network.params())
    state = evaluation.start(optimizer, params)
    batch = evaluation.place_batch(network.batch())
    for _ in range(2):
        losses = step.probe(params, state, *batch)
        params, state = step.absorb(params, state, losses)
    found["probe and absorb"] = float(np.abs(np.asarray(losses) - expected).max())
    found["type"] = str(jax.typeof(params["layers"]["up"]))
    return found
