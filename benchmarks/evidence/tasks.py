"""Problems to measure on: where a run starts, its loss on a batch, its held-out score, its data.

A task is data and two pure functions, so that a run can be scanned, stacked and compiled as one.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.evidence import llama2c
from benchmarks.evidence.features import features_of
from benchmarks.fetched import minilm
from loren_jax.models import (
    apply_function,
    load_classifier,
    load_language_model,
    span_loss,
)
from loren_jax.objectives import cross_entropy
from loren_jax.tasks import (
    PROTOCOLS,
    TASKS,
    Splits,
    batch_indices,
    divide,
    load_splits,
    open_tokenizer,
)
from loren_jax.tasks import tokenize as read

HEAD, ENCODER = "head", "all parameters"


class Task(NamedTuple):
    """A problem with its data.

    Attributes:
      name: of the task, the same for every seed.
      params: where a run starts.
      loss: `(params, batch) -> scalar`, pure; a batch is rows of `train`.
      score: `(params, held_out) -> {name: scalar}`, pure.
      metric: of the score, what selects; `"loss"` where there is no other.
      train: pytree of arrays `(N, ...)`.
      dev: what selects, as `score` takes it.
      test: what is reported, as `score` takes it.
      batch_size: examples a batch.
      facts: what a reader needs to know of it.
    """

    name: str
    params: Any
    loss: Callable[[Any, Any], jax.Array]
    score: Callable[[Any, Any], dict[str, jax.Array]]
    metric: str
    train: Any
    dev: Any
    test: Any
    batch_size: int
    facts: dict[str, Any]

    @property
    def examples(self) -> int:
        """N, the training rows."""
        return len(jax.tree.leaves(self.train)[0])

    def rows(self, seed: int, start: int, stop: int) -> np.ndarray:
        """Which training rows the steps `start <= t < stop` see, int32 `(stop - start, B)`."""
        size = self.batch_size
        steps = [batch_indices(seed, t, self.examples, size) for t in range(start, stop)]
        return np.asarray(steps, np.int32)

    def batch(self, seed: int, step: int) -> Any:
        """The batch of one step."""
        return take(self.train, self.rows(seed, step, step + 1)[0])


def take(data: Any, indices: Any) -> Any:
    """Rows of a pytree of arrays."""
    return jax.tree.map(lambda x: x[indices], data)


def blocks(data: Any, size: int) -> tuple[Any, np.ndarray]:
    """Held-out rows in blocks `(n, size, ...)`, and a weight for each row, 0 for what fills up."""
    count = len(jax.tree.leaves(data)[0])
    positions = np.arange(-(-count // size) * size).reshape(-1, size)
    whole = jax.tree.map(lambda x: np.asarray(x)[np.minimum(positions, count - 1)], data)
    return whole, (positions < count).astype(np.float32)


def classification(logits_of: Callable[[Any, Any], jax.Array]) -> tuple[Callable, Callable]:
    """Loss and score of a classifier from `(params, inputs) -> logits (B, 2)`.

    A batch is `{"inputs": ..., "labels": (B,)}`. The score has loss, accuracy and Matthews'
    correlation.
    """

    def loss(params: Any, batch: Any) -> jax.Array:
        return jnp.mean(cross_entropy(logits_of(params, batch["inputs"]), batch["labels"]))

    def score(params: Any, held_out: Any) -> dict[str, jax.Array]:
        def block(part: Any) -> tuple[jax.Array, jax.Array]:
            batch, weights = part
            logits = logits_of(params, batch["inputs"])
            nats = jnp.sum(cross_entropy(logits, batch["labels"]) * weights)
            right = jax.nn.one_hot(batch["labels"], logits.shape[-1]) * weights[:, None]
            return nats, right.T @ jax.nn.one_hot(jnp.argmax(logits, -1), logits.shape[-1])

        nats, counts = jax.tree.map(lambda x: jnp.sum(x, 0), jax.lax.map(block, held_out))
        total = jnp.sum(counts)
        return {
            "loss": nats / total,
            "accuracy": jnp.trace(counts) / total,
            "matthews": _matthews(counts),
        }

    return loss, score


def _matthews(counts: jax.Array) -> jax.Array:
    """Matthews' correlation of a `(C, C)` table of truth and answer; 0 where it has no value."""
    total, truths, answers = jnp.sum(counts), jnp.sum(counts, 1), jnp.sum(counts, 0)
    spread = (total**2 - answers @ answers) * (total**2 - truths @ truths)
    shared = jnp.trace(counts) * total - truths @ answers
    return jnp.where(spread > 0, shared / jnp.sqrt(jnp.where(spread > 0, spread, 1)), 0.0)


_HEAD = classification(lambda params, x: x @ params["kernel"] + params["bias"])
"""The same two functions for every task, so that what is compiled for one serves the others."""


def head_task(data: str, seed: int, *, data_dir: Path | None, batch_size: int = 32) -> Task:
    """MiniLM's new head on features of the frozen encoder, computed once; protocol `clean`.

    The losses are those of the whole forward pass up to rounding (`largest_difference`), as the
    encoder is not trained.

    Args:
      data: `"sst2"`, `"cola"` or a file of texts and labels.
      seed: draws training and dev rows, and the head.
      data_dir: where the data lie.
      batch_size: examples a batch.

    Returns:
      The task.
    """
    parts = division(data, seed, data_dir)
    source = minilm()
    model = load_classifier(source, num_labels=2, key=seed)
    rows = [
        {"inputs": features_of(source, model, part.texts), "labels": np.asarray(part.labels)}
        for part in (parts.train, parts.validation, parts.test)
    ]
    return Task(
        name=f"{data}, {HEAD}",
        params=model.params["classifier"],
        loss=_HEAD[0],
        score=_HEAD[1],
        metric=metric_of(data),
        train=rows[0],
        dev=blocks(rows[1], len(rows[1]["labels"])),
        test=blocks(rows[2], len(rows[2]["labels"])),
        batch_size=batch_size,
        facts={"model": "all-MiniLM-L6-v2", "trained": HEAD, **division_facts(parts, batch_size)},
    )


def encoder_task(
    data: str,
    seed: int,
    *,
    data_dir: Path | None,
    batch_size: int = 16,
    max_length: int = 32,
    layers: int | None = None,
) -> Task:
    """MiniLM with a new head, all parameters; protocol `clean` with shorter texts.

    Args:
      data: `"sst2"` or `"cola"`.
      seed: draws training and dev rows, and the head.
      data_dir: where the data lie.
      batch_size: examples a batch.
      max_length: tokens of a text.
      layers: keeps the first layers alone; None keeps all six.

    Returns:
      The task.
    """
    parts = division(data, seed, data_dir)
    source = minilm()
    model = load_classifier(source, num_labels=2, key=seed)
    config, params = model.config, dict(model.params)
    if layers is not None:
        config = config.__class__(**{**vars(config), "num_hidden_layers": layers})
        params["layers"] = jax.tree.map(lambda x: x[:layers], params["layers"])
    apply, tokenizer = apply_function(config), open_tokenizer(source)
    rows = []
    for part in (parts.train, parts.validation, parts.test):
        tokens = read(tokenizer, part, max_length)
        rows.append({"inputs": tuple(tokens[:3]), "labels": np.asarray(tokens.labels)})
    loss, score = classification(lambda params, inputs: apply(params, *inputs))
    name = ENCODER if layers is None else f"{ENCODER} of {layers} layers"
    return Task(
        name=f"{data}, {name}",
        params=params,
        loss=loss,
        score=score,
        metric=metric_of(data),
        train=rows[0],
        dev=blocks(rows[1], 64),
        test=blocks(rows[2], 64),
        batch_size=batch_size,
        facts={
            "model": "all-MiniLM-L6-v2",
            "trained": name,
            "tokens": max_length,
            **division_facts(parts, batch_size),
        },
    )


def language_task(
    model_file: Path,
    seed: int,
    *,
    data_dir: Path | None,
    data: str = "sst2",
    batch_size: int = 8,
    max_length: int = 32,
) -> Task:
    """A small language model of stories on sentences of another kind; all parameters.

    The loss is the mean cross-entropy of the next token over all tokens of a batch.

    Args:
      model_file: a llama2.c file with its tokenizer beside it; it is converted first.
      seed: draws training and dev rows.
      data_dir: where the data lie.
      data: whose sentences.
      batch_size: sentences a batch.
      max_length: tokens of a sentence.

    Returns:
      The task.
    """
    parts = division(data, seed, data_dir)
    with tempfile.TemporaryDirectory() as folder:
        directory = llama2c.convert(model_file, Path(folder) / model_file.stem)
        model, tokenizer = load_language_model(directory), open_tokenizer(directory)
    rows = []
    for part in (parts.train, parts.validation, parts.test):
        tokens = read(tokenizer, part, max_length)
        rows.append({"ids": tokens.input_ids, "mask": tokens.attention_mask})

    def loss(params: Any, batch: Any) -> jax.Array:
        logits = model.apply(params, batch["ids"], batch["mask"])
        return span_loss(logits, batch["ids"], batch["mask"])

    def score(params: Any, held_out: Any) -> dict[str, jax.Array]:
        def block(part: Any) -> tuple[jax.Array, jax.Array]:
            batch = {"ids": part[0]["ids"], "mask": part[0]["mask"] * part[1][:, None]}
            tokens = jnp.sum(batch["mask"][:, 1:])
            return loss(params, batch | {"mask": batch["mask"].astype(jnp.int32)}) * tokens, tokens

        nats, tokens = jax.lax.map(block, held_out)
        return {"loss": jnp.sum(nats) / jnp.sum(tokens)}

    return Task(
        name=f"{data} sentences, language model",
        params=model.params,
        loss=loss,
        score=score,
        metric="loss",
        train=rows[0],
        dev=blocks(rows[1], 64),
        test=blocks(rows[2], 64),
        batch_size=batch_size,
        facts={
            "model": model_file.stem,
            "trained": ENCODER,
            "tokens": max_length,
            **division_facts(parts, batch_size),
        },
    )


def division(data: str, seed: int, data_dir: Path | None) -> Splits:
    """Training, dev and test rows of protocol `clean`, drawn by the seed; of a file 500 to test."""
    protocol = PROTOCOLS["clean"]
    rows = {"train_examples": protocol.train_examples, "dev_examples": protocol.dev_examples}
    rows["test_examples"] = None if data in TASKS else 500
    return divide(protocol, load_splits(data, data_dir=data_dir), **rows, seed=seed)


def metric_of(data: str) -> str:
    """The name of the score by which a task selects."""
    return "matthews" if data == "cola" else "accuracy"


def division_facts(parts: Splits, batch_size: int) -> dict[str, Any]:
    """What a reader needs to know of the rows."""
    assert parts.validation is not None
    assert parts.test is not None
    return {
        "protocol": "clean",
        "rows": [len(parts.train), len(parts.validation), len(parts.test)],
        "batch size": batch_size,
        "majority class": parts.test.majority_accuracy(),
    }
