"""Training beside weights of 4 bits: memory and seconds a step.

    python -m benchmarks low_bit llama                      # a minute: it only compiles
    python -m benchmarks low_bit memory --model-file FILE   # a minute
    python -m benchmarks low_bit time --model-file FILE     # three minutes

`llama`: temporary memory of a step of Llama-3-8B, packed as int4, on abstract arrays, in units of
the packed parameters. The others train SmolLM2-135M from its 4-bit GGUF (98.4 MB) on SST-2 by a
prompt: the base in 4 bits beside float32 adapters, the scales of its blocks (QZO), and what the
same model does as float32, all of it or adapters. `memory` is a process's own: what it has at most
after its imports, also `again` with its programs compiled before. What is learned is in
`low_bit_learning.py`.

Measured (jax 0.10.2, two CPU cores; 8 x 32 tokens, two forward passes a step; MB):

    way               parameters  temporary  process  again  seconds
    float32                538.1       21.4      859    850    0.566
    adapters               541.7       20.8      973    850    0.568
    4 bits, adapters       100.3       19.4      510    361    0.650
    4 bits, scales         105.0       30.1      545    334    0.802

Adam in float32, as it is planned: 538 of parameters, 1076 of state, 1021 temporary. The
compiler's memory is in `process` and not in `again`. Beyond parameters and temporary memory, a
process beside adapters had, traced by hand: 11 to read the file, 35 for the adapters' own small
programs, 18 to trace the step, 85 to load it compiled.

    Llama-3-8B, int4: temporary / packed parameters, six queries one after the other, 2 x 128 tokens
    adapters of rank 1   0.041 of a prompt's answers, 0.070 of all tokens
    scales               0.057 of a prompt's answers, 0.083 of all tokens
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import loren_jax
from benchmarks.record import save, table
from loren_jax import lora
from loren_jax.models import FAMILIES, choice_function, span_loss
from loren_jax.models.families import abstract_params, apply_function
from loren_jax.models.hugging_face import load_prompted
from loren_jax.models.low_bit import Storage
from loren_jax.models.weights import flatten_params, unflatten_params
from loren_jax.objectives import cross_entropy
from loren_jax.parts import trained
from loren_jax.quantised import Quantised
from loren_jax.quantised.forms import FORMS

WAYS = {
    "float32": {"learning_rate": 1e-6, "perturbation_scale": 1e-3},
    "adapters": {"learning_rate": 1e-4, "perturbation_scale": 1e-2, "lora_rank": 8},
    "4 bits, adapters": {
        **{"learning_rate": 1e-4, "perturbation_scale": 1e-2, "lora_rank": 8},
        "quantise": "file",
    },
    "4 bits, scales": {
        **{"learning_rate": 1e-7, "perturbation_scale": 1e-4, "quantise": "file"},
        "max_slope": 100.0,
    },
}
"""What is trained, and with which numbers of MeZO."""
DIRECTIONS, BATCH, LENGTH, TARGETS = 1, 8, 32, "*/attention/*/kernel"
CONFIGS = Path(__file__).parents[2] / "tests" / "models" / "paper_configs.json"


def packed(config: Any, dtype: str, wide: bool) -> dict[str, Any]:
    """Shapes of parameters whose matrices are packed as int4."""
    storage, form = Storage("int4"), FORMS["Q4_0"]

    def leaf(path: str, array: Any) -> Any:
        if not storage.packs(path, array.shape):
            return jax.ShapeDtypeStruct(array.shape, dtype)
        kernel = path.endswith("/kernel")
        *stack, rows, fan_in = array.shape
        rows, fan_in = (fan_in, rows) if kernel else (rows, fan_in)
        at = jax.ShapeDtypeStruct
        return Quantised(
            codes=at((*stack, rows, fan_in // 2), jnp.uint8),
            scales=at((*stack, rows, fan_in // form.block), jnp.float32 if wide else jnp.float16),
            name="Q4_0",
            dtype=dtype,
            kernel=kernel,
        )

    shapes = flatten_params(abstract_params(config))
    return unflatten_params({path: leaf(path, array) for path, array in shapes.items()})


def nbytes(tree: Any) -> int:
    """Of all arrays, or of their shapes."""
    return sum(leaf.size * jnp.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))


def llama(arguments: argparse.Namespace) -> None:
    """Compiles the steps of Llama-3-8B."""
    raw, rows = json.loads(CONFIGS.read_text())["Llama-3-8B"], []
    make = FAMILIES[raw["model_type"]].config.from_hugging_face
    config = make(raw, num_labels=2, head="language_model")
    tokens = jax.ShapeDtypeStruct((2, 128), jnp.int32)
    answers = choice_function(config, [1, 2])
    losses = {
        "a prompt's answers": lambda params, ids: jnp.mean(
            cross_entropy(answers(params, ids, jnp.ones_like(ids)), ids[:, 0] % 2)
        ),
        "tokens": lambda params, ids: span_loss(
            apply_function(config)(params, ids, jnp.ones_like(ids)), ids, jnp.ones_like(ids)
        ),
    }
    for name, loss in losses.items():
        for way in ("adapters", "scales"):
            params = packed(config, "bfloat16", wide=way == "scales")
            size = nbytes(params)
            optimizer = loren_jax.loren(1e-6, rank=1, num_directions=6, chunk_size=1, momentum=None)
            if way == "adapters":
                make_adapters = lambda: lora.init(params, TARGETS, rank=1)  # noqa: B023
                own, adapted = jax.eval_shape(make_adapters), lora.adapt(loss)
                step = lambda own, ids, base: adapted(base, own, ids)  # noqa: B023
                given = (own, tokens, params)
            else:
                optimizer = trained(optimizer, lambda path: path.endswith("/scales"))
                own, step, given = params, loss, (params, tokens)
            state = jax.eval_shape(optimizer.init, own)
            compiled = loren_jax.train_step(step, optimizer).lower(own, state, *given[1:]).compile()
            found = compiled.memory_analysis().temp_size_in_bytes
            rows.append(
                {
                    "trained": way,
                    "loss": name,
                    "packed MB": round(size / 1e6),
                    "temporary MB": round(found / 1e6),
                    "temporary / packed": round(found / size, 4),
                }
            )
            print(table(rows[-1:]), flush=True)
    print(table(rows), save("low_bit_llama", rows), sep="\n")


def objective(way: str, path: Path) -> tuple[Any, ...]:
    """Trained parameters, loss of them and of what is frozen, optimiser."""
    options = WAYS[way]
    scales = way.endswith("scales")
    storage = Storage("file", ("*/scales",) if scales else ()) if "quantise" in options else None
    model = load_prompted(path, [100, 200], storage=storage)
    loss = lambda params, ids: jnp.mean(
        cross_entropy(model.apply(params, ids, jnp.ones_like(ids)), ids[:, 0] % 2)
    )
    knobs = {n: options[n] for n in ("perturbation_scale", "max_slope") if n in options}
    made = loren_jax.mezo(options["learning_rate"], num_directions=DIRECTIONS, **knobs)
    optimizer = trained(made, (lambda path: path.endswith("/scales")) if scales else None)
    if "lora_rank" not in options:
        return model.params, loss, optimizer, ()
    adapters = lora.init(model.params, TARGETS, rank=options["lora_rank"])
    adapted = lora.adapt(loss)
    return adapters, lambda own, ids, base: adapted(base, own, ids), optimizer, (model.params,)


def status(name: str) -> int:
    """A count of bytes that the system keeps of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def steps_of(way: str, path: Path, count: int) -> dict[str, Any]:
    """Memory and median seconds of a step."""
    jax.block_until_ready(jax.jit(lambda x: x @ x)(jnp.ones((8, 8))))
    before = status("VmRSS")
    params, loss, optimizer, frozen = objective(way, path)
    ids = jnp.asarray(np.random.default_rng(0).integers(2, 9000, (BATCH, LENGTH)), jnp.int32)
    size, loaded = nbytes((params, frozen)), status("VmHWM") - before
    state = optimizer.init(params)
    step = loren_jax.train_step(loss, optimizer).lower(params, state, ids, *frozen).compile()
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        params, state = jax.block_until_ready(step(params, state, ids, *frozen))
        seconds.append(time.perf_counter() - start)
    mega = lambda number: round(number / 1e6, 1)
    return {
        "way": way,
        "file MB": mega(path.stat().st_size),
        "parameters MB": mega(size),
        "temporary MB": mega(step.memory_analysis().temp_size_in_bytes),
        "process, loaded MB": mega(loaded),
        "process, at most MB": mega(status("VmHWM") - before),
        "seconds": round(float(np.median(seconds[1:])), 3),
    }


def adam(path: Path) -> dict[str, Any]:
    """What a step of Adam needs, as it is planned; it is not run."""
    model = load_prompted(path, [100, 200])
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), model.params)
    ids, optimizer = jax.ShapeDtypeStruct((BATCH, LENGTH), jnp.int32), optax.adam(1e-5)

    def step(params, state, ids):
        loss = lambda params: jnp.mean(
            cross_entropy(model.apply(params, ids, jnp.ones_like(ids)), ids[:, 0] % 2)
        )
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state = jax.eval_shape(optimizer.init, shapes)
    planned = jax.jit(step, donate_argnums=(0, 1)).lower(shapes, state, ids).compile()
    temporary = planned.memory_analysis().temp_size_in_bytes
    return {
        "parameters MB": round(nbytes(shapes) / 1e6),
        "state MB": round(nbytes(state) / 1e6),
        "temporary MB": round(temporary / 1e6),
        "together MB": round((nbytes((shapes, state)) + temporary) / 1e6),
    }


def measured(arguments: argparse.Namespace) -> None:
    """Each way in a process of its own, as a process's peak never falls."""
    name = arguments.what
    count = 3 if name == "memory" else 8
    call = [
        sys.executable,
        "-m",
        "benchmarks",
        "low_bit",
        "one",
        "--model-file",
        str(arguments.model_file),
    ]
    rows = []
    for way in WAYS:
        with tempfile.TemporaryDirectory() as cache:
            of = {
                "JAX_COMPILATION_CACHE_DIR": cache,
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            }
            found = []
            for _ in range(2 if name == "memory" else 1):  # the second compiles nothing
                words = [*call, "--way", way, "--steps", str(count)]
                done = subprocess.run(
                    words, check=True, stdout=subprocess.PIPE, env=os.environ | of
                )
                found.append(json.loads(done.stdout.splitlines()[-1]))
        again = {"again, at most MB": found[-1]["process, at most MB"]} if found[1:] else {}
        rows.append(found[0] | again)
    facts = {"batch": [BATCH, LENGTH], "forward_passes": 2 * DIRECTIONS}
    if name == "memory":
        facts["adam"] = adam(arguments.model_file)
        print(facts["adam"])
    print(table(rows), save(f"low_bit_{name}", rows, **facts), sep="\n")


def one(arguments: argparse.Namespace) -> None:
    """One way in this process."""
    print(json.dumps(steps_of(arguments.way, arguments.model_file, arguments.steps)))


def main() -> None:
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {"llama": llama, "memory": measured, "time": measured, "one": one}
    parser.add_argument("what", choices=parts)
    parser.add_argument("--model-file", type=Path)
    parser.add_argument("--way", choices=WAYS, default="4 bits, scales")
    parser.add_argument("--steps", type=int, default=3)
    arguments = parser.parse_args()
    parts[arguments.what](arguments)


if __name__ == "__main__":
    main()
