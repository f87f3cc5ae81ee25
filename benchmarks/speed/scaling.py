"""Scaling over devices: what each of them computes and sends, measured, and a model of clusters.

    python -m benchmarks scaling           # 1 to 8 virtual devices; some ten minutes on two cores
    python -m benchmarks scaling --model   # clusters and the internet, on paper and simulated
    python -m benchmarks scaling --quick   # tiny, to see that it runs

Virtual devices share the machine's cores, so seconds tell nothing of scaling. What does is read off
the compiled program of one device: the FLOPs that its compiler counts, the bytes and the number of
its collectives; `ideal` is the share of one device's FLOPs (strong: the same work on more devices,
weak: work that grows with them). The rest of the way to the ideal is what all devices do alike,
drawing directions and updating; over the model also the attention, of which this plain transformer
has one head. Layers are unrolled and queries run at once, as the compiler counts the FLOPs of a
loop's body once.

Measured (4 million parameters, K = 16 or 8, 8 x 64 tokens): 98 % of the ideal on 8 devices along
population and data, strong and weak, with one collective of 64 or 32 bytes a step; 38 % along the
model, strong, with 17 MB, and 101 % weak.

`cluster.py` says what the model of clusters counts, and what it assumes.
"""

import argparse
import os
import statistics
import time
from typing import Any

if __name__ == "__main__":  # before JAX starts
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

import loren_jax
from benchmarks.record import save, table
from benchmarks.speed import cluster
from benchmarks.transformer import Transformer
from loren_jax.evaluation import sharded
from tests.collectives import collectives

DEVICES = (1, 2, 4, 8)
AXES = ("population", "data", "model")


def weights(path: str, shape: tuple[int, ...]) -> P:
    """Columns, rows, words of the plain transformer."""
    place = {"up": P(None, "model"), "down": P("model"), "embedding": P("model")}
    return place.get(path.rpartition("/")[2], P())


def measure(model: Transformer, axis: str, devices: int, k: int, batch: int, length: int) -> dict:
    """One step on `devices` devices along one axis."""
    sizes = [devices if name == axis else 1 for name in AXES]
    grid = np.array(jax.devices()[:devices]).reshape(sizes)
    mesh = Mesh(grid, AXES, axis_types=(AxisType.Auto,) * 3)
    evaluation = sharded(mesh, population="population", data="data", weights=weights)
    optimizer = loren_jax.loren(1e-3, rank=1, num_directions=k, chunk_size=k, evaluation=evaluation)
    params = evaluation.place(model.params())
    state = evaluation.start(optimizer, params)
    tokens = evaluation.place_batch(model.tokens(batch, length))
    step = loren_jax.train_step(model.loss, optimizer).lower(params, state, tokens).compile()
    sent = collectives(step)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        params, state = jax.block_until_ready(step(params, state, tokens))
        seconds.append(time.perf_counter() - start)
    return {
        "MFLOPs": step.cost_analysis()["flops"] / 1e6,
        "bytes sent": sum(c.bytes * (c.times or 1) for c in sent),
        "collectives": sum(c.times or 1 for c in sent),
        "temporary MiB": step.memory_analysis().temp_size_in_bytes / 2**20,
        "seconds": statistics.median(seconds),
    }


def rows(quick: bool) -> list[dict[str, Any]]:
    """Strong and weak scaling along each axis."""
    small = {"layers": 1, "width": 32, "hidden": 64, "vocabulary": 128}
    sizes = small if quick else {"layers": 4, "width": 256, "hidden": 1024, "vocabulary": 4096}
    length, found = (8 if quick else 64), []
    for kind in ("strong", "weak"):
        for axis in AXES:
            one = 0.0
            for n in DEVICES[:2] if quick else DEVICES:
                grown = n if kind == "weak" else 8
                hidden = sizes["hidden"] // 8 * (n if kind == "weak" and axis == "model" else 8)
                model = Transformer(**sizes | {"hidden": hidden}, scanned=False)
                k = 2 * grown if axis == "population" else 8
                batch = grown if axis == "data" else 8
                row = measure(model, axis, n, k, batch, length)
                one = row["MFLOPs"] if n == 1 else one
                ideal = one / n if kind == "strong" else one
                head = {"scaling": kind, "axis": axis, "devices": n, "K": k, "rows": batch}
                found.append(head | row | {"of ideal": ideal / row["MFLOPs"]})
                print(table(found[-1:]).splitlines()[-1], flush=True)
    return found


def main() -> None:
    """Prints and saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="store_true", help="clusters on paper")
    parser.add_argument("--quick", action="store_true", help="tiny")
    options = parser.parse_args()
    if not options.model:
        found = rows(options.quick)
        print(table(found))
        if not options.quick:
            print("saved", save("scaling", found))
        return
    work = cluster.Work()
    gaussian = cluster.Work(rank=None)
    parts = {
        "clusters": cluster.cluster_rows(work),
        "clusters, full Gaussian": cluster.cluster_rows(gaussian),
        "limits": cluster.limits(work),
        "limits, full Gaussian": cluster.limits(gaussian),
        "limits, 1024 directions": cluster.limits(cluster.Work(directions=1024)),
        "internet": cluster.internet_rows(work),
    }
    for name, part in parts.items():
        print(f"\n{name}\n{table(part)}")
    every = [{"part": name, **row} for name, part in parts.items() for row in part]
    facts = {"work": vars(work), "chips": [vars(chip) for chip in cluster.CHIPS]}
    print("saved", save("scaling_model", every, **facts))


if __name__ == "__main__":
    main()
