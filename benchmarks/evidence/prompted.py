"""A language model that answers a prompt, and what of it the last token alone goes through.

Of a Llama's last layer only the token before the answer matters. Its attention reads keys and
values, which are frozen here; what follows, the output projection, the gated MLP and the norms,
works on that token alone. So two vectors a text are all that a loss needs: the token's state before
the layer, and what its attention has gathered. They are computed once for a text.

Shape suffixes: N texts, T tokens, D hidden size.
"""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.evidence.tasks import (
    Task,
    blocks,
    classification,
    division,
    division_facts,
    metric_of,
)
from benchmarks.fetched import RUNS, smollm2
from loren_jax.models import Classifier, bind, load_prompted
from loren_jax.models.attention import attend
from loren_jax.models.cache import Places
from loren_jax.models.decoder import last_true
from loren_jax.models.layers import scan_layers, token_at
from loren_jax.models.rotary import rotate
from loren_jax.tasks import (
    TASKS,
    Prompt,
    Tokens,
    answer_ids,
    open_tokenizer,
)
from loren_jax.tasks import tokenize as read

MODEL, MAX_LENGTH, ROWS = "smollm2", 48, 32
LENGTHS = (16, 24, 32, 48)
TRAINED = ("mlp_norm", "gate", "up", "down")


class Prompted(NamedTuple):
    """A model with the prompt of one task.

    Attributes:
      classifier: the whole model.
      tokenizer: its tokenizer.
      prompt: the task's.
      trained: the parameters that are trained, 2D arrays and vectors.
      logits: `(trained, inputs) -> (B, 2)`.
      loss: see `Task`.
      score: see `Task`.
    """

    classifier: Classifier
    tokenizer: Any
    prompt: Prompt
    trained: Any
    logits: Callable[[Any, Any], jax.Array]
    loss: Callable[[Any, Any], jax.Array]
    score: Callable[[Any, Any], dict[str, jax.Array]]


def prompted_task(data: str, seed: int, *, data_dir: Path | None, batch_size: int = 16) -> Task:
    """SmolLM2 with the prompt of a task; protocol `clean`.

    The losses are those of the whole forward pass up to rounding (`difference`).

    Args:
      data: `"sst2"` or `"cola"`.
      seed: draws training and dev rows.
      data_dir: where the data lie.
      batch_size: examples a batch.

    Returns:
      The task. Trained are the last layer's output projection, gate, up, down and norm, and the
      last norm of all.
    """
    parts, model = division(data, seed, data_dir), prompted(data)
    rows = []
    for part in (parts.train, parts.validation, parts.test):
        tokens = read(model.tokenizer, part, MAX_LENGTH, prompt=model.prompt)
        rows.append({"inputs": _inputs(model, tokens), "labels": np.asarray(tokens.labels)})
    return Task(
        name=f"{data}, prompted decoder",
        params=model.trained,
        loss=model.loss,
        score=model.score,
        metric=metric_of(data),
        train=rows[0],
        dev=blocks(rows[1], len(rows[1]["labels"])),
        test=blocks(rows[2], len(rows[2]["labels"])),
        batch_size=batch_size,
        facts={
            "model": "SmolLM2-135M-Instruct, from 4 bits",
            "trained": "the last layer after its attention",
            "numbers": sum(leaf.size for leaf in jax.tree.leaves(model.trained)),
            "prompt": model.prompt.template,
            "answers": model.prompt.words,
            "tokens": MAX_LENGTH,
            **division_facts(parts, batch_size),
        },
    )


@functools.cache
def prompted(data: str) -> Prompted:
    """The model and its functions, the same for every seed, so that they are compiled once."""
    source, prompt = smollm2(), TASKS[data].prompt
    assert prompt is not None
    tokenizer = open_tokenizer(source)
    answers = answer_ids(tokenizer, prompt)
    model = load_prompted(source, answers)
    epsilon, words = model.config.rms_norm_eps, model.params["word"]["embedding"][np.array(answers)]

    def normed(x: jax.Array, scale: jax.Array) -> jax.Array:
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + epsilon) * scale

    def logits(params: Any, inputs: Any) -> jax.Array:
        x = inputs["state"] + inputs["gathered"] @ params["output"]["kernel"]
        mlp = normed(x, params["mlp_norm"]["scale"])
        mlp = jax.nn.silu(mlp @ params["gate"]["kernel"]) * (mlp @ params["up"]["kernel"])
        x = x + mlp @ params["down"]["kernel"]
        return normed(x, params["norm"]["scale"]) @ words.T

    last = jax.tree.map(lambda x: x[-1], model.params["layers"])
    trained = {
        "output": last["attention"]["output"],
        **{name: last[name] for name in TRAINED},
        "norm": model.params["norm"],
    }
    return Prompted(model, tokenizer, prompt, trained, logits, *classification(logits))


def difference(data: str, seed: int, task: Task, data_dir: Path | None) -> float:
    """The largest difference of a loss from that of the whole forward pass, over eight batches."""
    model = prompted(data)
    tokens = read(
        model.tokenizer, division(data, seed, data_dir).train, MAX_LENGTH, prompt=model.prompt
    )
    loss, _ = classification(lambda params, inputs: model.classifier.apply(params, *inputs))
    whole = jax.jit(lambda batch: loss(model.classifier.params, batch))
    found = []
    for step in range(8):
        rows = task.rows(seed, step, step + 1)[0]
        inputs = tokens.input_ids[rows], tokens.attention_mask[rows]
        batch = {"inputs": inputs, "labels": np.asarray(tokens.labels)[rows]}
        own = task.loss(task.params, task.batch(seed, step))
        found.append(abs(float(whole(batch)) - float(own)))
    return max(found)


def _inputs(model: Prompted, tokens: Tokens) -> dict[str, np.ndarray]:
    """The two vectors of every text, `(N, D)` each; kept in a folder."""
    said = (str(MODEL), tokens.input_ids.tobytes(), tokens.attention_mask.tobytes())
    digest = hashlib.sha256(repr(said).encode()).hexdigest()
    path = RUNS / "features" / f"{digest[:24]}.npz"
    if path.exists():
        with np.load(path) as found:
            return dict(found)
    found = _computed(
        model.classifier, np.asarray(tokens.input_ids), np.asarray(tokens.attention_mask)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **found)
    return found


def _computed(model: Classifier, ids: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Texts of like length go together; padding is put to the right, where no token reads it."""
    run = jax.jit(functools.partial(_last_token, model.config))
    texts = [row[read != 0] for row, read in zip(ids, mask, strict=True)]
    groups: dict[int, list[int]] = {}
    for i, text in enumerate(texts):
        groups.setdefault(next(n for n in LENGTHS if n >= len(text)), []).append(i)
    found: dict[str, np.ndarray] = {}
    for length, rows in groups.items():
        for start in range(0, len(rows), ROWS):
            part = rows[start : start + ROWS]
            padded, read_ = np.zeros((2, ROWS, length), np.int32)
            read_[:, 0] = 1
            for i, row in enumerate(part):
                padded[i, : len(texts[row])], read_[i, : len(texts[row])] = texts[row], 1
            for name, values in run(model.params, padded, read_).items():
                whole = found.setdefault(name, np.zeros((len(texts), values.shape[1]), np.float32))
                whole[part] = np.asarray(values)[: len(part)]
    return found


def _last_token(config: Any, params: Any, ids: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
    below = {**params, "layers": jax.tree.map(lambda x: x[:-1], params["layers"])}
    model, last = bind(config, below), _last_layer(config, params)
    angles = config.rotary.angles(np.arange(ids.shape[1]), config.head_size)
    x_NxTxD = scan_layers(model.layers, model.word(ids), Places.whole(mask).mask(), angles)
    attention, normed = last.attention, last.attention_norm(x_NxTxD)
    query, key = (rotate(f(normed), angles) for f in (attention.query, attention.key))
    size = attention.head_size
    gathered = attend(
        query, key, attention.value(normed), Places.whole(mask).mask(), head_size=size
    )
    at = last_true(mask != 0)
    return {"state": token_at(x_NxTxD, at), "gathered": token_at(gathered, at)}


def _last_layer(config: Any, params: Any) -> Any:
    """The last layer as a module of its own."""
    layer, leaves = nnx.split(bind(config, params).layers)
    return nnx.merge(layer, jax.tree.map(lambda x: x[-1], leaves))
