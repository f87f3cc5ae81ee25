"""Features of a frozen encoder: computed once for a text, kept in memory and in a folder."""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.fetched import RUNS
from loren_jax.models import bind
from loren_jax.tasks import open_tokenizer

MAX_LENGTH, ROWS = 128, 64
_LENGTHS = (16, 32, 64, 128)


def features_of(source: Path, model: Any, texts: Sequence[Any]) -> np.ndarray:
    """Mean-pooled last hidden states, float32 `(N, D)`.

    Texts are padded to the next of a few lengths; padding does not change a feature beyond
    rounding, as attention and mean leave it out.

    Args:
      source: the model's folder.
      model: its classifier; the head is not used.
      texts: N texts, each a string or a tuple of one.

    Returns:
      One row a text.
    """
    digest = hashlib.sha256(repr((str(source.name), MAX_LENGTH, list(texts))).encode()).hexdigest()
    path = RUNS / "features" / f"{digest[:24]}.npy"
    if path.exists():
        return np.load(path)
    found = _computed(open_tokenizer(source), model, [_single(text) for text in texts])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, found)
    return found


def _single(text: Any) -> str:
    return text if isinstance(text, str) else text[0]


def _computed(tokenizer: Any, model: Any, texts: list[str]) -> np.ndarray:
    pooled = jax.jit(functools.partial(_pooled, model.config))
    ids = tokenizer(texts, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    found = np.zeros((len(texts), model.config.hidden_size), np.float32)
    groups: dict[int, list[int]] = {}
    for i, row in enumerate(ids):
        groups.setdefault(next(n for n in _LENGTHS if n >= len(row)), []).append(i)
    for length, rows in groups.items():
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            padded = np.zeros((ROWS, length), np.int32)
            mask = np.zeros((ROWS, length), np.int32)
            mask[:, 0] = 1
            for i, row in enumerate(part):
                padded[i, : len(ids[row])], mask[i, : len(ids[row])] = ids[row], 1
            found[part] = np.asarray(pooled(model.params, padded, mask))[: len(part)]
    return found


def _pooled(config: Any, params: Any, ids: jax.Array, mask: jax.Array) -> jax.Array:
    hidden = bind(config, params).encode(ids, mask, jnp.zeros_like(ids)).astype(jnp.float32)
    weights = mask[:, :, None].astype(jnp.float32)
    return jnp.sum(hidden * weights, axis=1) / jnp.sum(weights, axis=1)
