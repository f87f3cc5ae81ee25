"""All of the library on one accelerator, with nothing fetched: one JSON file, one Markdown table.

* methods: every method takes steps on a small problem, and its loss falls;
* steps: LOREN on a random Llama of a billion parameters in bfloat16, rank 1 and full Gaussian, 6
  and 64 directions, against as many bare forward passes, and what the compiler plans of memory;
* text: tokens a second of greedy answers, one prompt and many;
* reward: a step whose answers are judged on the host;
* replay: absorbing recorded losses, and whether two replays give the same bits.

    python -m benchmarks gpu            # within ten minutes on one GPU of 40 GB or more
    python -m benchmarks gpu --tiny     # to see that it runs, on a CPU too; seconds
    python -m benchmarks gpu --output FOLDER

Whoever has a GPU can run it and add `gpu.json` and `gpu.md` from `benchmarks/results`. It was not
run on a GPU yet. Each part is timed by its median over a few runs, after one that compiles.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import loren_jax
from benchmarks.record import RESULTS, command
from loren_jax.losses import fitness
from loren_jax.models import (
    Decoding,
    LlamaConfig,
    apply_function,
    decode,
    init_params,
    span_loss,
)
from loren_jax.optimizers import METHODS
from loren_jax.runs.environment import environment

RATES = {
    "zo_muon": 0.1,
    "mezo_adam": 0.01,
    "adamezo": 0.01,
    "fzoo": 0.01,
    "grzo": 0.01,
    "lozo_m": 0.003,
    "mezo_svrg": 0.001,
    "r_adazo": 1e-3,
    "kerzoo": 1e-3,
    "tezo": 1e-4,
}
"""Of the small problem; 0.03 for all others."""


class Size(NamedTuple):
    """How large the model and its batches are."""

    config: LlamaConfig
    batch: int
    length: int
    directions: tuple[int, ...]
    new_tokens: int
    prompts: tuple[int, ...]
    runs: int


BILLION = Size(
    LlamaConfig(
        vocab_size=32_000,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
        head="language_model",
    ),
    batch=4,
    length=256,
    directions=(6, 64),
    new_tokens=128,
    prompts=(1, 64),
    runs=5,
)
TINY = Size(
    LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head="language_model",
    ),
    batch=2,
    length=8,
    directions=(6, 8),
    new_tokens=4,
    prompts=(1, 3),
    runs=2,
)


def methods(steps: int = 60) -> Iterator[dict[str, Any]]:
    """A row a method: where the loss of a small network began and ended."""
    x = jax.random.normal(jax.random.key(0), (64, 16))
    start = {"kernel": jnp.zeros((16, 4)), "bias": jnp.ones(4)}
    loss = lambda params: jnp.mean((x @ params["kernel"] + params["bias"][None] - x[:, :4]) ** 2)
    for name, entry in METHODS.items():
        own = ({},) if name == "input_subspace" else ()
        more = {"vector_learning_rate": 0.03} if name == "zo_muon" else {}
        optimizer = entry.factory(RATES.get(name, 0.03), *own, **more)
        given = {"full_value_fn": loss} if entry.full_every else {}

        @jax.jit
        def step(params, state, optimizer=optimizer, given=given):
            updates, state = optimizer.update(None, state, params, value_fn=loss, **given)
            return jax.tree.map(jnp.add, params, updates), state

        params, state = start, optimizer.init(start)
        for _ in range(steps):
            params, state = step(params, state)
        before, after = float(loss(start)), float(loss(params))
        yield {"part": "methods", "what": name, "loss before": before, "loss after": after}


def steps(size: Size) -> Iterator[dict[str, Any]]:
    """A row a kind of directions: time and temporary memory of a step."""
    apply, params, ids = _model(size)
    loss = lambda params, ids: span_loss(apply(params, ids, jnp.ones_like(ids)), ids, ids >= 0)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(params))
    bare = jax.jit(loss).lower(params, ids).compile()
    forward = _median(lambda: bare(params, ids), size.runs)
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    yield {
        **{"part": "steps", "what": "a forward pass", "parameters": numbers, "seconds": forward},
        "temporary / parameters": _temporary(bare) / weights,
    }
    for queries in size.directions:
        for rank in (1, None):
            optimizer = loren_jax.loren(1e-6, rank=rank, num_directions=queries)
            step = loren_jax.train_step(loss, optimizer)
            carried = [jax.tree.map(jnp.copy, params), optimizer.init(params)]
            planned = step.lower(*carried, ids).compile()

            def run(carried=carried, step=step):
                carried[:] = step(*carried, ids)
                return carried[0]

            seconds = _median(run, size.runs)
            yield {
                "part": "steps",
                "what": f"rank {rank}" if rank else "Gaussian",
                "directions": queries,
                "seconds": seconds,
                "times the passes": seconds / (queries * forward),
                "temporary / parameters": _temporary(planned) / weights,
            }


def text(size: Size) -> Iterator[dict[str, Any]]:
    """A row a number of prompts: tokens a second."""
    _, params, ids = _model(size)
    how = Decoding(max_new_tokens=size.new_tokens)
    for prompts in size.prompts:
        asked = jnp.tile(ids[:1], (prompts, 1))
        answer = jax.jit(lambda p, ids: decode(size.config, p, ids, jnp.ones_like(ids), how).tokens)
        seconds = _median(lambda answer=answer, asked=asked: answer(params, asked), size.runs)
        made = prompts * size.new_tokens
        yield {
            **{"part": "text", "what": f"{prompts} prompts", "seconds": seconds},
            "tokens a second": made / seconds,
        }


def reward(size: Size) -> Iterator[dict[str, Any]]:
    """One step whose answers are worth what a Python function says."""
    _, params, ids = _model(size)
    how = Decoding(max_new_tokens=size.new_tokens)
    optimizer = loren_jax.loren(1e-6, rank=1, num_directions=size.directions[0])
    answer = lambda params: decode(size.config, params, ids, jnp.ones_like(ids), how).tokens
    see = jax.jit(lambda p, state: loren_jax.observe(answer, optimizer, p, state))
    absorb = jax.jit(lambda p, state, losses: optimizer.update(None, state, p, losses=losses))
    state = optimizer.init(params)

    def run() -> Any:
        answers = np.asarray(see(params, state))
        return absorb(params, state, fitness(jnp.asarray((answers % 2).mean(-1))).losses)

    yield {"part": "reward", "what": "a step", "seconds": _median(run, size.runs)}


def replay(size: Size) -> Iterator[dict[str, Any]]:
    """Steps a second from recorded losses, twice: the same bits."""
    _, params, _ = _model(size)
    optimizer = loren_jax.loren(1e-6, rank=1, num_directions=size.directions[0])
    step = loren_jax.train_step(lambda params: jnp.zeros(()), optimizer)
    losses = jax.random.normal(jax.random.key(0), (size.runs, *_shape(optimizer, params)))

    def again() -> Any:
        carried = jax.tree.map(jnp.copy, params), optimizer.init(params)
        for own in losses:
            carried = step.absorb(*carried, own)
        return jax.block_until_ready(carried[0])

    first = again()
    start = time.perf_counter()
    second = again()
    seconds = time.perf_counter() - start
    same = jax.tree.map(lambda a, b: bool((a == b).all()), first, second)
    yield {
        **{"part": "replay", "what": "rank 1", "steps a second": size.runs / seconds},
        "same bits": all(jax.tree.leaves(same)),
    }


PARTS: tuple[Callable[[Size], Iterator[dict[str, Any]]], ...] = (
    lambda _: methods(),
    steps,
    text,
    reward,
    replay,
)


def _model(size: Size) -> tuple[Any, Any, Any]:
    params = init_params(size.config, dtype=jnp.bfloat16)
    shape = (size.batch, size.length)
    ids = jax.random.randint(jax.random.key(1), shape, 0, size.config.vocab_size)
    return apply_function(size.config), params, ids


def _shape(optimizer: Any, params: Any) -> tuple[int, int]:
    return jax.eval_shape(optimizer.init, params)[0].losses.shape


def _temporary(program: Any) -> int:
    return program.memory_analysis().temp_size_in_bytes


def _median(call: Callable[[], Any], runs: int) -> float:
    jax.block_until_ready(call())
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def page(record: dict[str, Any]) -> str:
    """The rows as Markdown, a table a part."""
    versions, device = record["environment"]["versions"], record["kind"]
    parts = [f"# One accelerator\n\n{device}, jax {versions['jax']}; `{record['command']}`."]
    for name in dict.fromkeys(row["part"] for row in record["rows"]):
        own = [row for row in record["rows"] if row["part"] == name]
        columns = list(dict.fromkeys(k for row in own for k in row if k != "part"))
        cells = [[_cell(row.get(column)) for column in columns] for row in own]
        lines = [columns, ["---"] * len(columns), *cells]
        parts.append(f"## {name}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in lines))
    return "\n\n".join(parts) + "\n"


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Runs all parts, writes what came of it after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a model of no size")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of gpu.json, gpu.md")
    options = parser.parse_args()
    record: dict[str, Any] = {
        "command": command(),
        "date": time.strftime("%Y-%m-%d"),
        "environment": environment(),
        "kind": jax.devices()[0].device_kind,
        "rows": [],
    }
    options.output.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        for row in part(TINY if options.tiny else BILLION):
            record["rows"].append(row)
            print(row, flush=True)
        (options.output / "gpu.json").write_text(json.dumps(record, indent=1) + "\n")
        (options.output / "gpu.md").write_text(page(record))


if __name__ == "__main__":
    main()
