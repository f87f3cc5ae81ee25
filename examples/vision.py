"""Images with forward passes only: LOREN, MeZO and ZO-Muon beside gradients (Adam).

    python examples/vision.py                      # two small networks on scikit-learn's digits
    python examples/vision.py --preset cifar100-vit-b16 --data cifar100.npz --weights ViT-B_16.npz
    python examples/vision.py --preset cifar100-vit-b16 --compile-only

**Digits**: 1,797 images of 8 x 8, 1,000 to train, 297 to choose the rate by (one seed of its own,
runs as long as those that are reported), 500 to test; five seeds draw split, weights, batches and
noise. The networks start at random, so this is not fine-tuning.

**cifar100-vit-b16** is the protocol of the ZO-Muon paper's code: ViT-B/16 of ImageNet-21k, head at
zero, all parameters, 34,000 forward passes of 256 crops for ZO-Muon, 40,000 of 64 for MeZO,
constant rates, seed 42, no validation split. The paper reports the best of the test accuracies,
which this table has beside the last; its MeZO moved all leaves but the first along noise that was
not evaluated, and this one does not. Data are a file with `train_images`, `train_labels`,
`test_images`, `test_labels` (bytes, `(N, 32, 32, 3)`), weights the `.npz` of Google's release.
"""

import argparse
import functools
import math
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from vision_models import ResNet, ViT

import loren_jax


class Method(NamedTuple):
    """What trains.

    Attributes:
      name: in the table.
      make: `(rate, axes, key) -> optimiser`, the rate a number or a schedule.
      passes: forward passes of a step; a gradient counts as three.
      rates: to choose from; one of a preset.
      batch: images of a pass.
      budget: forward passes of a run.
    """

    name: str
    make: Callable[..., Any]
    passes: int
    rates: tuple[float, ...]
    batch: int
    budget: int


class Setting(NamedTuple):
    """A model and its data.

    Attributes:
      build: `seed -> module`.
      data: `seed -> (train, dev, test)`, each `(images, labels)`; `dev` None where there is none.
      crop: `(key, images) -> images` that the model takes, to train; without a key to test.
      methods: each trains alike.
      evaluations: of a run.
      cosine: whether rates fall to 0.
      start: what replaces the parameters of a new module.
    """

    build: Callable[[Any], Any]
    data: Callable[[int], tuple]
    crop: Callable[..., jax.Array]
    methods: tuple[Method, ...]
    evaluations: int = 1
    cosine: bool = True
    start: Callable[[Any], Any] = lambda params: params


def loren(rate: Any, axes: Any, key: Any, **own: Any) -> Any:
    """16 directions of rank 1 where matrices are wide."""
    return loren_jax.loren(rate, num_directions=16, matrix_axes=axes, key=key, **own)


def mezo(rate: Any, axes: Any, key: Any) -> Any:
    """One pair, as published."""
    return loren_jax.mezo(rate, matrix_axes=axes, key=key)


def zo_muon(rate: Any, axes: Any, key: Any, **own: Any) -> Any:
    """16 directions in a subspace, as published for images."""
    return loren_jax.zo_muon(rate, num_directions=16, matrix_axes=axes, key=key, **own)


def cross_entropy(model: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean."""
    return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


class Programs(NamedTuple):
    """Of a setting and a method, each compiled once; all take rates and seeds as numbers."""

    start: Callable[..., Any]
    advance: Callable[..., Any]
    score: Callable[..., Any]


@functools.lru_cache(maxsize=1)
def programs(setting: Setting, method: Method, image: tuple[int, ...]) -> Programs:
    """For images of a shape."""
    steps = method.budget // method.passes // setting.evaluations
    functional = loren_jax.from_nnx(nnx.eval_shape(lambda: setting.build(0)))
    loss = functional.loss(cross_entropy)
    few = jax.eval_shape(setting.crop, None, jax.ShapeDtypeStruct((2, *image), jnp.float32))
    zeros = jnp.zeros(few.shape), jnp.zeros(2, int)
    axes = loren_jax.matrix_axes(lambda params: loss(params, *zeros), functional.params)

    def optimizer(rate: Any, seed: Any) -> Any:
        whole = steps * setting.evaluations
        falling = optax.cosine_decay_schedule(rate, whole) if setting.cosine else rate
        return method.make(falling, axes, seed)

    @jax.jit
    def start(rate: Any, seed: Any) -> Any:
        params = setting.start(loren_jax.from_nnx(setting.build(seed)).params)
        return params, optimizer(rate, seed).init(params)

    @functools.partial(jax.jit, donate_argnums=0)
    def advance(carry: Any, rate: Any, seed: Any, first: Any, train: Any) -> Any:
        update = optax.with_extra_args_support(optimizer(rate, seed)).update

        def step(carry: Any, number: Any) -> Any:
            params, state = carry
            key, own = jax.random.split(jax.random.fold_in(jax.random.key(seed), number))
            rows = jax.random.randint(key, (method.batch,), 0, len(train[1]))
            batch = setting.crop(own, train[0][rows]), train[1][rows]
            value_fn = lambda params: loss(params, *batch)
            needs = method.name == "Adam"
            gradient = jax.grad(value_fn)(params) if needs else None
            given = {} if needs else {"value_fn": value_fn}
            updates, state = update(gradient, state, params, **given)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, carry, first + jnp.arange(steps))[0]

    @jax.jit
    def score(params: Any, images: Any, labels: Any) -> Any:
        scores = functional.merge(params)(setting.crop(None, images))
        return jnp.mean(jnp.argmax(scores, -1) == labels)

    return Programs(start, advance, score)


def run(setting: Setting, method: Method, rate: float, seed: int) -> list[tuple[float, float]]:
    """Accuracies on dev and test data after each part of a run: any model, method and data."""
    train, *held_out = setting.data(seed)
    own = programs(setting, method, train[0].shape[1:])
    steps = method.budget // method.passes // setting.evaluations
    carry, found = own.start(rate, seed), []
    for part in range(setting.evaluations):
        carry = own.advance(carry, rate, seed, part * steps, train)
        found.append(tuple(accuracy(own.score, carry[0], split) for split in held_out))
    return found


def accuracy(score: Callable[..., Any], params: Any, split: Any, size: int = 500) -> float:
    """Of a split, some images at a time."""
    if split is None:
        return math.nan
    images, labels = split
    parts = [slice(i, i + size) for i in range(0, len(labels), size)]
    right = [float(score(params, images[p], labels[p])) * len(labels[p]) for p in parts]
    return sum(right) / len(labels)


def digits(seed: int) -> tuple:
    """1,000 images to train, 297 to choose by, 500 to test."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = jnp.asarray(found.images, jnp.float32)[..., None] / 16
    order = np.random.default_rng(seed).permutation(len(images))
    labels = jnp.asarray(found.target)
    return tuple((images[rows], labels[rows]) for rows in np.split(order, [1000, 1297]))


def as_they_are(_: Any, images: jax.Array) -> jax.Array:
    """No crop."""
    return images


def small(build: Callable[[Any], Any], budget: int) -> Setting:
    """A network for digits."""
    adam = lambda rate, axes, key: optax.adam(rate)
    muon = functools.partial(zo_muon, rank=16, vector_learning_rate=1e-2)
    methods = (
        Method("Adam", adam, 3, (1e-3, 3e-3, 1e-2, 3e-2), 32, budget),
        Method("LOREN", loren, 16, (1e-2, 3e-2, 1e-1), 32, budget),
        Method("MeZO", mezo, 2, (3e-4, 1e-3, 3e-3), 32, budget),
        Method("ZO-Muon", muon, 17, (1e-2, 3e-2, 1e-1), 32, budget),
    )
    return Setting(build, digits, as_they_are, methods)


def crop(key: Any, images: jax.Array) -> jax.Array:
    """224 x 224 of a random part, of 5 to 100 % of the area; without a key of all; in -1 to 1."""

    def one(key: Any, image: jax.Array) -> jax.Array:
        first, second, third = jax.random.split(key, 3)
        area = jax.random.uniform(first, minval=0.05, maxval=1.0)
        ratio = jnp.exp(jax.random.uniform(second, minval=-1.0, maxval=1.0) * math.log(4 / 3))
        part = jnp.minimum(jnp.sqrt(area * jnp.array([ratio, 1 / ratio])), 1.0)
        scale = 224 / (part * image.shape[0])
        place = -jax.random.uniform(third, (2,)) * (224 / part - 224)
        return jax.image.scale_and_translate(
            image, (224, 224, image.shape[-1]), (0, 1), scale, place, "linear", antialias=False
        )

    images = images.astype(jnp.float32) / 127.5 - 1
    if key is None:
        return jax.image.resize(images, (len(images), 224, 224, images.shape[-1]), "linear")
    return jax.vmap(one)(jax.random.split(key, len(images)), images)


def cifar(data: str | None, weights: str | None) -> Setting:
    """The preset."""
    muon = functools.partial(zo_muon, chunk_size=1, rank=64, vector_learning_rate=1e-4)
    many = functools.partial(loren, chunk_size=1)
    methods = (
        Method("ZO-Muon", muon, 17, (1e-2,), 256, 34000),
        Method("MeZO", mezo, 2, (1e-4,), 64, 40000),
        Method("LOREN", many, 16, (1e-4,), 256, 34000),  # not of the paper, not tuned
    )
    build = lambda seed: ViT(224, 16, 3, 768, 12, 12, 100, seed)
    start = (lambda params: params) if weights is None else functools.partial(loaded, weights)
    return Setting(build, lambda _: from_file(data), crop, methods, 20, False, start)


@functools.lru_cache(maxsize=1)
def from_file(path: str) -> tuple:
    """Training and test data, and None in between."""
    found = np.load(path)
    split = lambda n: tuple(jnp.asarray(found[f"{n}_{what}"]) for what in ("images", "labels"))
    return split("train"), None, split("test")


def loaded(path: str, params: Any) -> Any:
    """The parameters with those of a file of Google's, all but the head."""
    file = np.load(path)
    block = "Transformer/encoderblock_{}/"
    names = {
        "token": "cls", "places": "Transformer/posembed_input/pos_embedding",
        "patches": "embedding", "norm": "Transformer/encoder_norm",
        "blocks/norms/0": block + "LayerNorm_0", "blocks/norms/1": block + "LayerNorm_2",
        "blocks/up": block + "MlpBlock_3/Dense_0", "blocks/down": block + "MlpBlock_3/Dense_1",
        "blocks/attention": block + "MultiHeadDotProductAttention_1",
    }  # fmt: skip

    def leaf(path: Any, old: Any) -> Any:
        own = "/".join(str(getattr(p, "key", getattr(p, "name", p))) for p in path)
        own = own.removesuffix("/value")
        found = next((n for n in names if own == n or own.startswith(f"{n}/")), None)
        if found is None:
            return old
        name = names[found] + own.removeprefix(found)
        layers = range(old.shape[0]) if "{}" in name else ()
        new = np.stack([file[name.format(i)] for i in layers]) if layers else file[name]
        return jnp.asarray(new.reshape(old.shape), old.dtype)

    return jax.tree_util.tree_map_with_path(leaf, params)


def compile_only(setting: Setting, method: Method) -> str:
    """Memory of a step, of abstract arrays: nothing is read and nothing runs."""
    functional = loren_jax.from_nnx(nnx.eval_shape(lambda: setting.build(0)))
    loss, shape = functional.loss(cross_entropy), jax.ShapeDtypeStruct
    few = jnp.zeros((1, 224, 224, 3)), jnp.zeros(1, int)
    axes = loren_jax.matrix_axes(lambda params: loss(params, *few), functional.params)
    optimizer = method.make(method.rates[0], axes, 42)
    state = jax.eval_shape(optimizer.init, functional.params)
    batch = shape((method.batch, 224, 224, 3), jnp.float32), shape((method.batch,), jnp.int32)
    step = loren_jax.train_step(loss, optimizer).lower(functional.params, state, *batch)
    memory = step.compile().memory_analysis().temp_size_in_bytes / 2**20
    numbers = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(functional.params))
    return f"{method.name}: {numbers:,} parameters, temporary memory of a step {memory:,.0f} MiB"


def table(setting: Setting, title: str, seeds: tuple[int, ...], tuning: int | None) -> None:
    """Prints a line for each method, at the rate that is best on the dev data of one seed."""
    for method in setting.methods:
        best = lambda rate, method=method: run(setting, method, rate, tuning)[-1][0]
        rate = method.rates[0] if tuning is None else max(method.rates, key=best)
        runs = [[test for _, test in run(setting, method, rate, seed)] for seed in seeds]
        last = spread([found[-1] for found in runs])
        most = f" | {spread([max(found) for found in runs])}" if setting.evaluations > 1 else ""
        print(
            f"| {title} | {method.name} | {method.budget:,} | {rate:g} | {last}{most} |", flush=True
        )


def spread(values: list[float]) -> str:
    """Mean and standard error."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.fmean(values):.3f} ± {error:.3f}"


NETWORKS: dict[str, Callable[[Any], Any]] = {
    "ViT": lambda seed: ViT(8, 2, 1, 24, 2, 4, 10, seed),
    "ResNet": lambda seed: ResNet(1, (8, 16, 32), 10, seed),
}
"""For digits."""


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=["digits", "cifar100-vit-b16"], default="digits")
    parser.add_argument("--data", help="cifar100-vit-b16: a .npz file of images and labels")
    parser.add_argument("--weights", help="cifar100-vit-b16: the .npz file of ViT-B/16")
    parser.add_argument("--budget", type=int, default=3000, help="digits: forward passes of a run")
    parser.add_argument("--seeds", type=int, default=5, help="digits: how many are reported")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--compile-only", action="store_true", help="tell the memory of a step")
    given = parser.parse_args()
    cifar100 = given.preset != "digits"
    if given.compile_only:
        preset = cifar(None, None)
        print(*(compile_only(preset, method) for method in preset.methods), sep="\n")
        return
    if cifar100 and not (given.data and given.weights):
        parser.error("cifar100-vit-b16 needs --data and --weights, or --compile-only")
    print("| network | method | forward passes | rate | test accuracy |", end="")
    print(" best of the evaluations |" if cifar100 else "", end="\n|---|---|---|---|---|")
    print("---|" if cifar100 else "")
    if cifar100:
        table(cifar(given.data, given.weights), "ViT-B/16", (42,), None)
        return
    for title in given.networks:
        setting = small(NETWORKS[title], given.budget)
        table(setting, title, tuple(range(given.seeds)), 100)


if __name__ == "__main__":
    main()
