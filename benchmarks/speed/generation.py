"""Tokens a second of greedy generation, beside what the memory allows and beside torch.

Each new token of a batch reads every weight once, and a step cannot be faster: the limit is
the bytes of the weights over the bandwidth of a copy (bytes read and bytes written). The time of a
step is that of N + 1 tokens less that of one, over N, so that prompts are not in it. All take turns
in one process, minima count; `processor` is the time of all threads, which says more where other
programs run.

Queries are K perturbed models (rank 1) that answer the same prompts at once; beside them stands one
model with as many rows.

    python -m benchmarks generation                          # SmolLM2-135M, minutes
    python -m benchmarks generation stories260K --batch 8    # a directory, as llama2c.py writes it

Measured (jax 0.10.2, float32, two CPU cores and nothing else on them, 64 tokens of prompt, 32 new
ones; torch 2 on the same weights):

    by         batch  tokens a second  step ms  of the limit  temporary / cache
    plain      8      124              65       0.19          1.5
    8 queries  8      107              75       0.16          2.2
    torch      8      95               84       0.15
    plain      32     272              118      0.10          1.3
    8 queries  32     266              120      0.10          1.7
    torch      32     278              115      0.10

The weights are nearer than the limit thinks: copies of an array of their size ran at 44 GB/s. What
keeps a step from it is XLA's product of a few rows with a matrix on a CPU. With eight rows it reads
the matrix at 11 GB/s even where no layer is cut out of a stack (each layer an array of its own),
and at 9 GB/s where the loop over layers does cut; the libraries that XLA may call instead (XNNPACK,
YNNPACK, oneDNN) give the same to 5 %. So 0.25 is the floor of a float32 step here, whatever the
layout; 52 of the 65 ms are those products and the logits. bfloat16 is no way out on a CPU: 1 GB/s.
With 32 rows attention to the cache takes 28 of the 118 ms; keys that lie the other way (head size
before places) would save 8 of them and nothing with eight rows. What is beside the cache in the
temporary memory is one layer's weights and activations.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.fetched import smollm2
from benchmarks.record import save, table
from benchmarks.timers import Timers
from loren_jax import noise
from loren_jax.directions import isotropic
from loren_jax.evaluation import evaluate_queries, perturbed
from loren_jax.models import (
    Decoding,
    LanguageModel,
    decode,
    export_language_model,
    load_language_model,
)

QUERIES, PROMPT, LONG, COPIES = 8, 64, 512, 4


class Program(NamedTuple):
    """A compiled generation, its calls, and what it took to get it."""

    call: Callable[[int], Any]
    compile_seconds: float
    temporary: int


def compiled(run: Callable[..., Any], *arguments: Any) -> Program:
    """`run(*arguments, limit)`, to be called with the limit of new tokens."""
    start = time.perf_counter()
    program = jax.jit(run).lower(*arguments, 1).compile()
    seconds = time.perf_counter() - start
    temporary = program.memory_analysis().temp_size_in_bytes
    return Program(lambda limit: program(*arguments, limit), seconds, temporary)


def prompts(model: LanguageModel, batch: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that mean nothing; what they are costs nothing either."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, model.config.vocab_size, (batch, length)).astype(np.int32)
    return ids, np.ones_like(ids)


def plain(model: LanguageModel, batch: int, tokens: int, length: int = PROMPT) -> Program:
    """One model, a batch of prompts."""
    ids, mask = prompts(model, batch, length)
    how = Decoding(max_new_tokens=tokens + 1)
    run = lambda params, limit: decode(model.config, params, ids, mask, how, limit=limit).tokens
    return compiled(run, model.params)


def queries(model: LanguageModel, batch: int, tokens: int) -> Program:
    """K perturbed models at once, a batch of prompts for each."""
    ids, mask = prompts(model, batch, PROMPT)
    how = Decoding(max_new_tokens=tokens + 1)
    kind, key = isotropic(rank=1), noise.run_key(0)
    state = kind.init(model.params, key)
    draw = lambda number: kind.draw(state, model.params, noise.fold(key, number))
    directions = jax.jit(jax.vmap(draw))(jnp.arange(QUERIES))

    def run(params: Any, directions: Any, limit: Any) -> Any:
        return evaluate_queries(
            lambda params: decode(model.config, params, ids, mask, how, limit=limit).tokens,
            params,
            directions,
            points=(1.0,),
            scale=jnp.float32(1e-3),
            evaluation=perturbed,
            chunk_size=QUERIES,
        )

    return compiled(run, model.params, directions)


def of_torch(
    model: LanguageModel, source: str, batch: int, folder: str
) -> Callable[[int], Any] | None:
    """Stock transformers with the same weights; None where torch is not installed."""
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError:
        return None
    export_language_model(folder, source, model.config, model.params)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids, mask = map(torch.tensor, prompts(model, batch, PROMPT))
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}

    def call(limit: int) -> Any:
        with torch.no_grad():
            return network.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=limit, **options
            )

    return call


def copy_bandwidth(size: int) -> float:
    """Bytes a second, read and written, of copies of an array of a size."""
    copies = jax.jit(
        lambda x: jax.lax.fori_loop(0, COPIES, lambda i, x: x + 1, x), donate_argnums=0
    )
    x, seconds = copies(jnp.zeros(size // 4)), []
    for _ in range(5):
        jax.block_until_ready(x)
        start = time.perf_counter()
        x = jax.block_until_ready(copies(x))
        seconds.append(time.perf_counter() - start)
    return 2 * COPIES * size / min(seconds)


def cache_bytes(model: LanguageModel, rows: int, places: int) -> int:
    """What keys and values take, in closed form."""
    config = model.config
    heads = getattr(config, "key_value_heads", None) or config.num_attention_heads
    layers = jax.tree.leaves(model.params["layers"])[0].shape[0]
    width = jax.tree.leaves(model.params["word"])[0].dtype.itemsize
    return 2 * layers * rows * heads * places * config.head_size * width


def measure(
    source: str, batches: list[int], tokens: int, turns: int, *, torch: bool
) -> list[dict[str, Any]]:
    """Rows of one model."""
    model, rows = load_language_model(source), []
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(model.params))
    for batch in batches:
        timers, programs = Timers(), {"plain": plain(model, batch, tokens)}
        if batch % QUERIES == 0:
            programs[f"{QUERIES} queries"] = queries(model, batch // QUERIES, tokens)
        calls = {name: program.call for name, program in programs.items()}
        with tempfile.TemporaryDirectory() as folder:
            if torch and (other := of_torch(model, source, batch, folder)) is not None:
                calls["torch"] = other
        for name, call in calls.items():
            for limit in (1, tokens + 1):
                timers.add((name, limit), lambda call=call, limit=limit: call(limit))
        timers.run(turns)
        bandwidth = copy_bandwidth(weights)
        for name in calls:
            step, busy = (
                (min(kind[name, tokens + 1]) - min(kind[name, 1])) / tokens
                for kind in (timers.seconds, timers.processor)
            )
            program = programs.get(name)
            cache = cache_bytes(model, batch, PROMPT + tokens + 1)
            rows.append(
                {
                    "by": name,
                    "batch": batch,
                    "tokens a second": batch / step,
                    "step ms": 1e3 * step,
                    "processor ms": 1e3 * busy,
                    "of the limit": weights / bandwidth / step,
                    "copy GB/s": bandwidth / 1e9,
                    "compile s": program.compile_seconds if program else None,
                    "temporary / cache": program.temporary / cache if program else None,
                }
            )
    return rows


def first_token(source: str, turns: int) -> float:
    """Milliseconds from a prompt of 512 tokens, or half of what the model reads, to a token."""
    model, timers = load_language_model(source), Timers()
    long = plain(model, 1, 1, min(LONG, model.config.max_length // 2))
    timers.add("long", lambda: long.call(1))
    timers.run(turns)
    return 1e3 * min(timers.seconds["long"])


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="a directory or GGUF; by default SmolLM2-135M")
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--torch", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    source = options.model or str(smollm2())
    rows = measure(source, options.batch, options.tokens, options.turns, torch=options.torch)
    first = first_token(source, options.turns)
    print(table(rows))
    print(f"first token of a long prompt: {first:.0f} ms")
    name = "generation" if options.model is None else f"generation_{source.rsplit('/', 1)[-1]}"
    save(name, rows, first_token_ms=first, prompt=PROMPT, tokens=options.tokens)


if __name__ == "__main__":
    main()
