"""Memory that a LOREN step of the paper's models needs beside the parameters, as it is planned.

Compiled ahead of time on abstract arrays: no weight is read and nothing runs, so that a laptop can
plan for a model that it could not hold. Six queries one after another, rank 1, no momentum, in the
precision of the paper; `temp_size_in_bytes` of the step in place (`loren_jax.train_step`) and of a
bare forward pass.

The CPU's back end multiplies bfloat16 matrices in float32. By default it converts the matrices of
all layers before the loop over the layers, which takes twice the parameters; a device that
multiplies bfloat16 has nothing to convert. So the bfloat16 models are also compiled with the pass
switched off that moves the conversion out of the loop (`xla_disable_hlo_passes`).

    python -m benchmarks paper_sizes            # some minutes: it only compiles
    python -m benchmarks paper_sizes --quick    # GPT-2-XL alone

Measured (jax 0.10.2, CPU, 2 x 128 tokens, units of the parameters):

    model       head     parameters      dtype     conversion       forward  step   step MiB
    GPT-2-XL    classes  1,557,614,400   float32   -                0.021    0.038  224
    GPT-2-XL    tokens   1,557,611,200   float32   -                0.021    0.038  224
    OPT-2.7B    classes  2,651,601,920   float32   -                0.030    0.042  423
    OPT-2.7B    tokens   2,651,596,800   float32   -                0.030    0.042  423
    OPT-13B     classes  12,853,483,520  bfloat16  before the loop  2.008    1.995  48911
    OPT-13B     classes  12,853,483,520  bfloat16  in the loop      0.049    0.036  885
    OPT-13B     tokens   12,853,473,280  bfloat16  before the loop  2.008    2.015  49401
    OPT-13B     tokens   12,853,473,280  bfloat16  in the loop      0.049    0.036  885
    Llama-3-8B  classes  7,504,932,864   bfloat16  before the loop  1.919    1.898  27169
    Llama-3-8B  classes  7,504,932,864   bfloat16  in the loop      0.059    0.038  540
    Llama-3-8B  tokens   8,030,261,248   bfloat16  before the loop  1.793    1.774  27172
    Llama-3-8B  tokens   8,030,261,248   bfloat16  in the loop      0.055    0.035  543
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import loren_jax
from benchmarks.record import save, table
from loren_jax.models import FAMILIES, apply_function, span_loss
from loren_jax.models.families import abstract_params
from loren_jax.objectives import cross_entropy

CONFIGS = Path(__file__).parents[2] / "tests" / "models" / "paper_configs.json"
DTYPES = {
    "GPT-2-XL": "float32",
    "OPT-2.7B": "float32",
    "OPT-13B": "bfloat16",
    "Llama-3-8B": "bfloat16",
}
"""As the paper trains them."""
CONVERSIONS = {
    "before the loop": None,
    "in the loop": {"xla_disable_hlo_passes": "while-loop-invariant-code-motion"},
}
QUERIES = 6


def measure(name: str, raw: dict[str, Any], batch: int, length: int) -> Iterator[dict[str, Any]]:
    """One row for each head and each place of the conversion."""
    for head in ("classification", "language_model"):
        config = FAMILIES[raw["model_type"]].config.from_hugging_face(raw, num_labels=2, head=head)
        dtype = DTYPES[name]
        narrow = lambda leaf, dtype=dtype: jax.ShapeDtypeStruct(leaf.shape, dtype)
        params = jax.tree.map(narrow, abstract_params(config))
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        size = count * jnp.dtype(dtype).itemsize
        loss, batch_shapes = _loss(config, batch, length)
        optimizer = loren_jax.loren(
            1e-6, rank=1, momentum=None, num_directions=QUERIES, chunk_size=1
        )
        state = jax.eval_shape(optimizer.init, params)
        forward = jax.jit(loss).lower(params, *batch_shapes)
        step = loren_jax.train_step(loss, optimizer).lower(params, state, *batch_shapes)
        for place, options in CONVERSIONS.items():
            if dtype == "float32" and options:
                continue  # there is nothing to convert
            temporary = _temporary(step, options)
            yield {
                "model": name,
                "head": head,
                "parameters": count,
                "dtype": dtype,
                "conversion": "-" if dtype == "float32" else place,
                "forward / parameters": _temporary(forward, options) / size,
                "step / parameters": temporary / size,
                "step MiB": temporary / 2**20,
            }


def _loss(config: Any, batch: int, length: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The loss of a configuration, and the shapes of a batch."""
    apply = apply_function(config)
    ids = jax.ShapeDtypeStruct((batch, length), "int32")
    if config.head == "language_model":
        loss = lambda params, ids, mask: span_loss(apply(params, ids, mask), ids, mask)
        return loss, (ids, ids)
    labels = jax.ShapeDtypeStruct((batch,), "int32")
    loss = lambda params, ids, mask, labels: jnp.mean(
        cross_entropy(apply(params, ids, mask), labels)
    )
    return loss, (ids, ids, labels)


def _temporary(lowered: Any, options: dict[str, Any] | None) -> int:
    return lowered.compile(compiler_options=options).memory_analysis().temp_size_in_bytes


def main() -> None:
    """Compiles, prints, saves; nothing runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", default="2x128", help="batch x length")
    parser.add_argument("--quick", action="store_true", help="the smallest model alone")
    options = parser.parse_args()
    batch, length = map(int, options.tokens.split("x"))
    configs = json.loads(CONFIGS.read_text())
    names = list(configs)[:1] if options.quick else list(configs)
    rows = [row for name in names for row in measure(name, configs[name], batch, length)]
    print(table(rows))
    if not options.quick:
        print("saved", save("paper_sizes", rows, queries=QUERIES, tokens=options.tokens))


if __name__ == "__main__":
    main()
