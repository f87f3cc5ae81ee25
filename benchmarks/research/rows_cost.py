"""What a direction for each row of a batch costs, against one pair for the whole batch.

MiniLM on batches of 16 texts, all parameters, rank-1 directions; both as compiled training steps.

    python -m benchmarks.research.rows_cost [tokens]
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp

import loren_jax
from benchmarks.fetched import minilm
from loren_jax.losses import per_example
from loren_jax.models import apply_function, load_classifier
from loren_jax.objectives import cross_entropy

ROWS, REPEATS = 16, 9


def main() -> None:
    """Times both steps in turn and prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokens", nargs="?", type=int, default=32, help="of a text")
    tokens = parser.parse_args().tokens
    model = load_classifier(minilm(), num_labels=2, key=0)
    apply = apply_function(model.config)
    ids = jax.random.randint(jax.random.key(0), (ROWS, tokens), 1000, 20000)
    labels = jnp.arange(ROWS) % 2
    batch = {"ids": ids, "mask": jnp.ones_like(ids), "labels": labels}

    def loss(params, batch):
        logits = apply(params, batch["ids"], batch["mask"], jnp.zeros_like(batch["ids"]))
        return jnp.mean(cross_entropy(logits, batch["labels"]))

    forward = jax.jit(loss)
    steps, held = {}, {}
    kinds = {"one direction": (loss, 1), "one a row": (per_example(loss), ROWS)}
    for name, (function, count) in kinds.items():
        tx = loren_jax.mezo(1e-6, num_directions=count, rank=1)
        steps[name] = loren_jax.train_step(function, tx)
        params = jax.tree.map(jnp.copy, model.params)
        held[name] = jax.block_until_ready(steps[name](params, tx.init(params), batch))
    jax.block_until_ready(forward(model.params, batch))
    times: dict[str, list[float]] = {"a forward pass": [], **{name: [] for name in kinds}}
    for _ in range(REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(forward(model.params, batch))
        times["a forward pass"].append(time.perf_counter() - began)
        for name, step in steps.items():
            began = time.perf_counter()
            held[name] = jax.block_until_ready(step(*held[name], batch))
            times[name].append(time.perf_counter() - began)
    for name, found in times.items():
        print(f"{name}: {statistics.median(found):.3f} s (least {min(found):.3f})")


if __name__ == "__main__":
    main()
