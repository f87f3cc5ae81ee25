"""A step on a cluster, on paper and by simulation: time, memory and bytes of each chip.

What is counted, for a mesh of P x D x M chips (population, data, model), K directions at S points,
B rows of T tokens, directions of rank r, N parameters in bfloat16, momentum in float32:

* a query: 2 N B T / (D M) FLOPs and the attention's at half of the peak, or reading the weights,
  whichever takes longer; and two all-reduces a layer of the activations over the model axis, as a
  ring or, where that is faster, as a tree;
* queries: K S / P of them, one after another, and an all-reduce of one scalar each over data;
* the losses: one gather of 4 K S bytes over the population;
* the update, alike on all chips: drawing all K directions once more, reading and writing the
  chip's weights and momentum, and 2 K r operations on each weight by vector units. Full Gaussian
  directions instead draw K numbers for each weight, in the update, and one a weight and query.

The simulation runs the same step with chips that are not alike: each group's time is log-normal
with 5 % deviation, and one in a thousand takes twice as long; the step waits for the last one.

What is known of the chips are their makers' figures; the rest are assumptions, stated here: half
of the peak is reached, a hop takes 1 us between neighbours and 5 us through a network, threefry
and the normal quantile take 150 operations a number on the vector units.

What it gives (`results/scaling_model.json`; 64 directions, 64 rows of 512 tokens). Rank 1: 8B on
H100s from 8.7 s on 8 to 0.029 s on 4,096, 70B from 97 s to 0.23 s; simulated, with groups that wait
for each other, 9.4 s to 0.052 s and 105 s to 0.44 s. Over population and data a chip gets 260 bytes
a step, over the model gigabytes. Population pays up to K, data up to all rows, the model axis
up to the chips of a node, or 16 to 32 chips of a torus; so: as much model as memory asks for, then
population, then data. Full Gaussian directions stop paying at 8 to 64 groups: every chip draws all
K again to make the update. 1,024 rank-1 directions of the 70B model are 70 GB of factors on each
chip, which asks for more model axis than the weights do. Workers with lines of 100 ms and 10 Mbit/s
that exchange losses reach 49 times one worker's speed with 64 of them (8B); a gradient would take
seven hours.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

REACHED = 0.5
OPERATIONS_A_NUMBER = 150


@dataclass(frozen=True)
class Chip:
    """Figures of one chip; rates a second.

    Attributes:
      flops: of matrix units, bfloat16.
      vector: operations of vector units, float32.
      memory: bytes.
      bandwidth: of its memory, bytes.
      link: bytes to its neighbours, one direction.
      network: bytes beyond them.
      near: chips that are neighbours.
    """

    name: str
    flops: float
    vector: float
    memory: float
    bandwidth: float
    link: float
    network: float
    near: int


CHIPS = (
    Chip("H100 SXM", 989e12, 67e12, 80e9, 3.35e12, 450e9, 50e9, 8),
    Chip("TPU v5p", 459e12, 7e12, 95e9, 2.77e12, 300e9, 6.25e9, 4096),
)


@dataclass(frozen=True)
class Model:
    """Sizes of a Llama."""

    name: str
    parameters: float
    layers: int
    width: int
    hidden: int
    heads: int
    shared_heads: int
    vocabulary: int = 128256

    def factor_numbers(self, rank: int) -> float:
        """Numbers of one direction's factors."""
        keys = self.width * self.shared_heads // self.heads
        attention = 2 * (self.width + self.width) + 2 * (self.width + keys)
        layer = attention + 3 * (self.width + self.hidden)
        return rank * (self.layers * layer + 2 * (self.vocabulary + self.width))


MODELS = (
    Model("Llama-3-8B", 8.03e9, 32, 4096, 14336, 32, 8),
    Model("Llama-3-70B", 70.6e9, 80, 8192, 28672, 64, 8),
)


@dataclass(frozen=True)
class Work:
    """What a step has to do: K directions at S points, B rows of T tokens.

    Attributes:
      rank: of the directions; None for full Gaussian ones.
      momentum: whether there is a float32 copy of the parameters.
    """

    directions: int = 64
    points: int = 1
    rows: int = 64
    tokens: int = 512
    rank: int | None = 1
    momentum: bool = True


@dataclass(frozen=True)
class Mesh:
    """Sizes of the axes."""

    population: int
    data: int
    model: int

    @property
    def chips(self) -> int:
        """How many there are."""
        return self.population * self.data * self.model


def all_reduce(size: float, chips: int, chip: Chip, near: bool) -> float:
    """Seconds to add up `size` bytes of each chip."""
    if chips == 1:
        return 0.0
    rate, hop = (chip.link, 1e-6) if near else (chip.network, 5e-6)
    ring = 2 * (chips - 1) * (hop + size / chips / rate)
    tree = 2 * math.ceil(math.log2(chips)) * (hop + size / rate)
    return min(ring, tree)


def step(model: Model, chip: Chip, work: Work, mesh: Mesh) -> dict[str, float]:
    """Seconds of the parts of a step, bytes that a chip holds and gets, on paper."""
    tokens = work.rows * work.tokens / mesh.data
    own = model.parameters / mesh.model
    attention = 4 * model.layers * tokens * work.tokens * model.width / mesh.model
    flops = 2 * own * tokens + attention
    compute = max(flops / (chip.flops * REACHED), 2 * own / chip.bandwidth)
    activations = tokens * model.width * 2
    exchange = 2 * model.layers * all_reduce(activations, mesh.model, chip, mesh.model <= chip.near)
    near = mesh.model * mesh.data <= chip.near
    query = compute + exchange + all_reduce(4, mesh.data, chip, near)
    queries = math.ceil(work.directions * work.points / mesh.population)
    losses = 4 * work.directions * work.points
    gather = math.ceil(math.log2(mesh.population)) * 5e-6 + losses / chip.network
    if work.rank is None:
        probe_numbers, numbers, terms = own * queries, own * work.directions, work.directions
    else:
        numbers = model.factor_numbers(work.rank) * work.directions
        probe_numbers, terms = numbers, work.directions * work.rank
    # A weight is read and written in two bytes, its momentum in four.
    moved = own * (4 + (8 if work.momentum else 0)) / chip.bandwidth
    draw = OPERATIONS_A_NUMBER / chip.vector
    update = max(moved, 2 * terms * own / chip.vector) + numbers * draw
    held = own * (2 + (4 if work.momentum else 0))
    held += 8 * numbers if work.rank else 4 * own / model.layers
    held += tokens * (4 * model.width + (6 * model.hidden + 4 * model.vocabulary) / mesh.model)
    sent = losses + (4 * queries if mesh.data > 1 else 0)
    if mesh.model > 1:
        sent += queries * 2 * model.layers * activations
    return {
        "query": query,
        "queries": queries * query + probe_numbers * draw,
        "gather": gather if mesh.population > 1 else 0.0,
        "update": update,
        "step": queries * query + probe_numbers * draw + update + gather,
        "bytes held": held,
        "bytes exchanged": sent,
        "of which over population and data": losses + (4 * queries if mesh.data > 1 else 0),
    }


def simulated(
    model: Model, chip: Chip, work: Work, mesh: Mesh, steps: int = 200, seed: int = 0
) -> float:
    """Mean seconds of a step whose groups take unequal times."""
    parts = step(model, chip, work, mesh)
    rng = np.random.default_rng(seed)
    groups = mesh.population * mesh.data
    # A group is as slow as the slowest chip of its model axis.
    noise = np.exp(0.05 * rng.standard_normal((steps, groups, mesh.model)) - 0.00125)
    slow = 1.0 + (rng.random((steps, groups, mesh.model)) < 1e-3)
    last = (noise * slow).max(-1).max(-1)
    return float(np.mean(parts["queries"] * last + parts["gather"] + parts["update"]))


def meshes(chips: int, work: Work) -> Iterator[Mesh]:
    """Meshes of powers of two that leave no chip without work."""
    powers = [2**i for i in range(chips.bit_length())]
    for model in powers[:7]:
        for data in powers:
            population = chips // (model * data)
            if population * data * model != chips or data > work.rows:
                continue
            if population <= work.directions * work.points:
                yield Mesh(population, data, model)


def best(model: Model, chip: Chip, work: Work, chips: int) -> Mesh | None:
    """The fastest mesh that fits into memory, with a tenth of it left free."""
    fits = [
        mesh
        for mesh in meshes(chips, work)
        if step(model, chip, work, mesh)["bytes held"] <= 0.9 * chip.memory
    ]
    return min(fits, key=lambda mesh: step(model, chip, work, mesh)["step"], default=None)


def cluster_rows(work: Work) -> list[dict[str, Any]]:
    """8 to 4,096 chips, the best mesh of each."""
    rows = []
    for model in MODELS:
        for chip in CHIPS:
            for chips in (8, 32, 128, 512, 1024, 4096):
                mesh = best(model, chip, work, chips)
                if mesh is None:
                    continue
                parts = step(model, chip, work, mesh)
                rows.append(
                    {
                        "model": model.name,
                        "chip": chip.name,
                        "chips": chips,
                        "mesh": f"{mesh.population}x{mesh.data}x{mesh.model}",
                        "seconds": parts["step"],
                        "simulated": simulated(model, chip, work, mesh),
                        "update": parts["update"],
                        "GB a chip": parts["bytes held"] / 1e9,
                        "MB exchanged": parts["bytes exchanged"] / 1e6,
                        "bytes, population and data": parts["of which over population and data"],
                    }
                )
    return rows


def limits(work: Work) -> list[dict[str, Any]]:
    """How far each axis pays, alone, for every model and chip; the limits hold for this work."""
    return [limit(model, chip, work) for model in MODELS for chip in CHIPS]


def limit(model: Model, chip: Chip, work: Work, gain: float = 1.5) -> dict[str, Any]:
    """The size of each axis at which doubling it makes a step less than `gain` times faster.

    The other axes are one, and the model axis as small as memory allows.
    """
    fits = lambda mesh: step(model, chip, work, mesh)["bytes held"] <= 0.9 * chip.memory
    fewest = next((m for m in (1, 2, 4, 8, 16, 32) if fits(Mesh(1, work.rows, m))), 64)

    def seconds(axis: str, size: int) -> float:
        sizes = {"population": 1, "data": 1, "model": fewest} | {axis: size}
        return step(model, chip, work, Mesh(**sizes))["step"]

    row: dict[str, Any] = {"model": model.name, "chip": chip.name, "least model": fewest}
    most = {"population": work.directions * work.points, "data": work.rows, "model": 64}
    for axis, end in most.items():
        size = fewest if axis == "model" else 1
        while size < end and seconds(axis, size) >= gain * seconds(axis, 2 * size):
            size *= 2
        row[f"{axis} pays up to"] = size
    return row


LATENCY, RATE, OVERHEAD = 0.1, 10e6 / 8, 60
"""Of a worker's line: seconds there and back, bytes a second; bytes of a packet beside its data."""


def internet_rows(work: Work, fan_out: int = 16) -> list[dict[str, Any]]:
    """Workers that exchange losses alone, over lines of 100 ms and 10 Mbit/s."""
    rows = []
    for model, chips in ((MODELS[0], 1), (MODELS[1], 8)):
        for workers in (2, 8, 64):
            mesh = Mesh(1, 1, chips)
            alone = step(model, CHIPS[0], work, mesh)
            share = math.ceil(work.directions * work.points / workers)
            compute = alone["query"] * share
            star = internet_step(workers, share, compute, workers)
            tree = internet_step(workers, share, compute, fan_out)
            rows.append(
                {
                    "model": model.name,
                    "worker": f"{chips} x {CHIPS[0].name}",
                    "workers": workers,
                    "seconds of computing": compute + alone["update"],
                    "step, star": star + alone["update"],
                    "step, tree": tree + alone["update"],
                    "bytes a worker": 2 * OVERHEAD + 4 * (share + work.directions * work.points),
                    "step alone": alone["step"],
                    "a gradient instead, hours": 2 * 2 * model.parameters / RATE / 3600,
                }
            )
    return rows


def internet_step(
    workers: int, share: int, compute: float, fan_out: int, seed: int = 0, steps: int = 50
) -> float:
    """Mean seconds until the last worker has all losses, by events.

    Workers are a tree, of which each node sends the losses of those below it upwards, and all
    losses downwards to one after another. With a fan-out of all it is a star.
    """
    rng = np.random.default_rng(seed)
    parents = [-1] + [(i - 1) // fan_out for i in range(1, workers)]
    total = 0.0
    for _ in range(steps):
        ready = compute * np.exp(0.05 * rng.standard_normal(workers))
        line = LATENCY / 2 * np.exp(0.3 * rng.standard_normal(workers))
        below, free = np.ones(workers), np.zeros(workers)
        # Upwards, leaves first: a node hears one child after another on its own line.
        for i in range(workers - 1, 0, -1):
            size = OVERHEAD + 4 * share * below[i]
            arrival = max(ready[i] + line[i] + size / RATE, free[parents[i]] + size / RATE)
            free[parents[i]] = arrival
            ready[parents[i]] = max(ready[parents[i]], arrival)
            below[parents[i]] += below[i]
        size = OVERHEAD + 4 * share * workers
        queue, last, children = [(ready[0], 0)], ready[0], [[] for _ in range(workers)]
        for i in range(1, workers):
            children[parents[i]].append(i)
        while queue:
            now, node = heapq.heappop(queue)
            last = max(last, now)
            for number, child in enumerate(children[node], 1):
                heapq.heappush(queue, (now + number * size / RATE + line[child], child))
        total += last
    return total / steps
