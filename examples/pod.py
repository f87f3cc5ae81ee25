"""Fine-tuning on many chips: what one would start on a Cloud TPU slice or on nodes with GPUs.

One process, all of its chips:                 python examples/pod.py --mesh 4,2,1
Eight virtual devices on a CPU:                python examples/pod.py --cpu-devices 8 --mesh 2,2,2
A Cloud TPU slice, the same line on each host: python examples/pod.py --distributed --mesh 64,1,4
GPU nodes, one line each, here the first of 2: python examples/pod.py --mesh 4,1,4 \
    --coordinator 10.0.0.1:1234 --processes 2 --process 0

`--mesh` is population, data, model. The chips of the model axis share the weights; put it on chips
that are close to each other: it is the last one, whose neighbours are nearest. `--model` is a
directory with a Llama or another decoder, of which each process reads its own part only; without
it a tiny random Llama learns to count, in a minute on a laptop. Expected: a loss from 3.5 to below
0.5.
"""

import argparse

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding

import loren_jax
from loren_jax.evaluation import sharded

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--mesh", default="1,1,1", help="sizes of population, data and model")
parser.add_argument("--model", help="a Hugging Face directory")
parser.add_argument("--steps", type=int, default=600)
parser.add_argument("--output", default="runs/pod", help="where the run is written, and goes on")
parser.add_argument("--learning-rate", type=float, default=1.5e-2)
parser.add_argument("--distributed", action="store_true", help="the cluster says who is who")
parser.add_argument("--coordinator", help="host:port of process 0, the same on all")
parser.add_argument("--processes", type=int)
parser.add_argument("--process", type=int)
parser.add_argument("--cpu-devices", type=int, help="virtual devices of this process")
options = parser.parse_args()

# Before anything else asks for a device.
if options.cpu_devices:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", options.cpu_devices)
if options.coordinator or options.distributed:
    jax.distributed.initialize(options.coordinator, options.processes, options.process)

from loren_jax.models import (  # noqa: E402
    LanguageModel,
    LlamaConfig,
    apply_function,
    init_params,
    load_language_model,
    tensor_parallel,
)
from loren_jax.reports import read_metrics  # noqa: E402

ROWS, LENGTH = 16, 16

# 1. A mesh, and what lies where. Automatic axes: the compiler divides the program.
sizes = tuple(map(int, options.mesh.split(",")))
mesh = jax.make_mesh(sizes, ("population", "data", "model"), axis_types=(AxisType.Auto,) * 3)
weights = tensor_parallel("model", sizes[2])
evaluation = sharded(mesh, population="population", data="data", weights=weights)

# 2. The model, each part of it read by those who need it.
if options.model:
    place = lambda path, shape: NamedSharding(mesh, weights(path, shape))
    model = load_language_model(options.model, dtype="bfloat16", sharding=place)
else:
    config = LlamaConfig(
        vocab_size=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, num_key_value_heads=2, head="language_model",
    )  # fmt: skip
    model = LanguageModel(config, apply_function(config), evaluation.place(init_params(config)))


# 3. Any loss, any optimiser. 16 directions: with a population of 16 each chip evaluates one.
def loss(params, ids):
    """Mean over all tokens but the first."""
    logits = model.apply(params, ids, ids >= 0)[:, :-1]
    picked = jax.numpy.take_along_axis(jax.nn.log_softmax(logits), ids[:, 1:, None], -1)
    return -jax.numpy.mean(picked)


optimizer = loren_jax.loren(options.learning_rate, rank=1, num_directions=16, evaluation=evaluation)


def batch(number):
    """Rows that count from somewhere; of the whole batch, made alike by all processes."""
    start = np.random.default_rng(number).integers(0, 32, (ROWS, 1))
    return evaluation.place_batch(((start + np.arange(LENGTH)) % 32).astype(np.int32))


# 4. A run: killed and started again, it goes on. `in_place`: no copy of the model is made.
fitted = loren_jax.fit(
    loss, model.params, batch, optimizer=optimizer, evaluation=evaluation, in_place=True,
    directory=options.output, steps=options.steps,
)  # fmt: skip
if jax.process_index() == 0:
    losses = [line["loss"] for line in read_metrics(fitted.directory) if line["event"] == "step"]
    for number in (*range(0, options.steps, 50), options.steps - 1):
        print(f"step {number:5d}  loss {losses[number]:.6f}")
