"""The problem of the research log: MiniLM on SST-2, with as little arithmetic as leaves it whole.

Sentences are cut to 16 tokens (the median of the training rows is 10), and the word embedding keeps
the rows that occur in the data alone: the others have no influence on any loss. `tail` trains the
last layers and the head on features of the layers before, computed once.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from benchmarks.fetched import minilm
from loren_jax.models import bind, load_classifier
from loren_jax.models.layers import padding_mask, scan_layers
from loren_jax.objectives import cross_entropy
from loren_jax.tasks import PROTOCOLS, Tokens, divide, load_splits, open_tokenizer, tokenize

LENGTH = 16


class Data(NamedTuple):
    """Rows of a data set.

    Attributes:
      inputs: ids (N, T), or hidden states (N, T, D).
      mask: 1 at tokens, (N, T).
      labels: (N,).
    """

    inputs: Any
    mask: Any
    labels: Any

    def rows(self, chosen: Any) -> "Data":
        """The chosen rows."""
        return Data(*(array[chosen] for array in self))

    def batch(self) -> dict[str, Any]:
        """All rows as `evidence.tasks.classification` takes them."""
        inputs = np.asarray(self.inputs), np.asarray(self.mask)
        return {"inputs": inputs, "labels": np.asarray(self.labels)}


class Problem(NamedTuple):
    """Parameters, a loss and data.

    Attributes:
      params: tree of what is trained.
      logits: `(params, Data) -> (B, 2)`.
      train: training rows, 512.
      dev: rows that select.
      test: the official validation set.
    """

    params: Any
    logits: Callable[[Any, Data], Any]
    train: Data
    dev: Data
    test: Data

    def losses(self, params: Any, data: Data) -> jax.Array:
        """Cross-entropy of every row."""
        return cross_entropy(self.logits(params, data), data.labels)

    def loss(self, params: Any, data: Data) -> jax.Array:
        """Mean cross-entropy."""
        return jnp.mean(self.losses(params, data))

    def score(self, params: Any, data: Data, size: int = 128) -> tuple[float, float]:
        """Mean loss and accuracy of all rows."""
        evaluate = _evaluation(self.logits)
        found = [
            evaluate(params, data.rows(slice(i, i + size)))
            for i in range(0, len(data.labels), size)
        ]
        losses, right = (np.concatenate([np.asarray(f[i]) for f in found]) for i in range(2))
        return float(losses.mean()), float(right.mean())


@functools.cache
def _evaluation(logits: Callable[..., Any]) -> Callable[..., Any]:
    def evaluate(params: Any, data: Data) -> Any:
        scores = logits(params, data)
        return cross_entropy(scores, data.labels), scores.argmax(-1) == data.labels

    return jax.jit(evaluate)


def load(
    data_dir: Path, seed: int = 0, trained: str = "all", test_examples: int | None = None
) -> Problem:
    """MiniLM on SST-2.

    Args:
      data_dir: the folder with `sst2`.
      seed: of the head and of the division into rows.
      trained: `all`, `tail` (two layers and the head) or `head`.
      test_examples: how many of the test rows; None for all 872.

    Returns:
      The problem.
    """
    protocol, splits = PROTOCOLS["clean"], load_splits("sst2", data_dir=data_dir)
    rows = protocol.train_examples
    parts = divide(protocol, splits, train_examples=rows, dev_examples=256, seed=seed)
    source = minilm()
    tokenizer = open_tokenizer(source)
    model = load_classifier(source, num_labels=2, key=seed)
    read = lambda examples: tokenize(tokenizer, examples, LENGTH)
    tokens = [read(part) for part in (parts.train, parts.validation, parts.test)]
    tokens[2] = tokens[2].rows(slice(test_examples))
    params, data = _fewer_words(model.params, tokens)

    def logits(params: Any, data: Data) -> jax.Array:
        return bind(model.config, params)(data.inputs, data.mask)

    problem = Problem(params, logits, *data)
    if trained == "all":
        return problem
    layers = model.config.num_hidden_layers
    return _cut(problem, model.config, layers - (2 if trained == "tail" else 0))


def _fewer_words(params: Any, parts: list[Tokens]) -> tuple[Any, list[Data]]:
    """The words that occur, renumbered, and the positions that are used."""
    words = np.unique(np.concatenate([np.unique(tokens.input_ids) for tokens in parts]))
    tables = dict(params["embeddings"])
    tables["word"] = {"embedding": tables["word"]["embedding"][words]}
    tables["position"] = {"embedding": tables["position"]["embedding"]}
    data = [
        Data(np.searchsorted(words, t.input_ids).astype(np.int32), t.attention_mask, t.labels)
        for t in parts
    ]
    return {**params, "embeddings": tables}, data


def _cut(problem: Problem, config: Any, layers: int) -> Problem:
    """The problem above the first `layers`, whose outputs are computed once."""
    split = lambda part: jax.tree.map(lambda x: x[part], problem.params["layers"])
    below = {**problem.params, "layers": split(slice(layers))}
    above = {"classifier": problem.params["classifier"], "layers": split(slice(layers, None))}

    def features(data: Data) -> Data:
        rows = [data.rows(slice(i, i + 64)) for i in range(0, len(data.labels), 64)]
        parts = [_encode(config, below, part) for part in rows]
        return Data(np.concatenate([np.asarray(part) for part in parts]), data.mask, data.labels)

    def logits(params: Any, data: Data) -> jax.Array:
        model = bind(config, {**problem.params, **params})
        x = jnp.asarray(data.inputs)
        if params["layers"]["up"]["bias"].shape[0]:
            x = scan_layers(model.layers, x, padding_mask(data.mask))
        return model.classify(x, jnp.asarray(data.mask != 0))

    return Problem(above, logits, *(features(part) for part in problem[2:]))


@functools.partial(jax.jit, static_argnums=0)
def _encode(config: Any, params: Any, rows: Data) -> jax.Array:
    return bind(config, params).encode(rows.inputs, rows.mask)


def flat(params: Any) -> tuple[np.ndarray, Callable[[Any], Any], list[tuple[str, int, int]]]:
    """The parameters as one vector, the way back, and `(name, start, end)` of every layer's leaf.

    Leaves below `layers` are stacks: each layer has a name of its own.
    """
    vector, unravel = ravel_pytree(params)
    spans, start = [], 0
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        name = "/".join(str(part.key) for part in path)
        number = leaf.shape[0] if name.startswith("layers/") else 1
        for layer in range(number):
            size = leaf.size // number
            label = f"{layer}/{name[7:]}" if name.startswith("layers/") else name
            spans.append((label, start, start + size))
            start += size
    return np.asarray(vector), unravel, spans
