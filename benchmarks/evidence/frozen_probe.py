"""A linear probe on frozen features: what forward passes alone have to be measured against.

Trains the same head that `loren-jax train --trainable 'classifier/*'` trains, on the same rows
under the same protocol, but with exact gradients (L-BFGS of Optax) on features computed once.
Weight decay is chosen on the dev split, and the chosen probe is scored once on the test set.

    python -m benchmarks frozen_probe --data-dir ../shared/data --seeds 0 1 2
"""

import argparse
import functools
import statistics
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.fetched import minilm
from loren_jax.models import bind, load_classifier
from loren_jax.objectives import cross_entropy
from loren_jax.tasks import (
    PROTOCOLS,
    Tokens,
    divide,
    evaluation_batches,
    load_splits,
    open_tokenizer,
    tokenize,
)

WEIGHT_DECAYS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
STEPS = 200
MAX_LENGTH, BATCH_SIZE = 128, 100


def features_of(model: Any, tokens: Tokens) -> np.ndarray:
    """Mean-pooled last hidden states [N, D] of the frozen encoder."""

    @jax.jit
    def pooled(params: Any, ids: jax.Array, mask: jax.Array, types: jax.Array) -> jax.Array:
        hidden = bind(model.config, params).encode(ids, mask, types).astype(jnp.float32)
        weights = mask[:, :, None].astype(jnp.float32)
        return jnp.sum(hidden * weights, axis=1) / jnp.sum(weights, axis=1)

    rows = [
        np.asarray(pooled(model.params, *rows[:3]))[weights > 0]
        for rows, weights in evaluation_batches(tokens, BATCH_SIZE)
    ]
    return np.concatenate(rows)


@functools.partial(jax.jit, static_argnames="classes")
def fit(features: jax.Array, labels: jax.Array, decay: float, classes: int) -> dict[str, jax.Array]:
    """Logistic regression by L-BFGS, from zero."""
    params = {
        "kernel": jnp.zeros((features.shape[1], classes)),
        "bias": jnp.zeros(classes),
    }

    def loss(params: dict[str, jax.Array]) -> jax.Array:
        data = jnp.mean(cross_entropy(logits_of(params, features), labels))
        return data + 0.5 * decay * jnp.sum(params["kernel"] ** 2)

    optimizer = optax.lbfgs()

    def step(carry: Any, _: None) -> tuple[Any, None]:
        params, state = carry
        value, gradient = optax.value_and_grad_from_state(loss)(params, state=state)
        updates, state = optimizer.update(
            gradient, state, params, value=value, grad=gradient, value_fn=loss
        )
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), length=STEPS)
    return params


def logits_of(params: dict[str, jax.Array], features: jax.Array) -> jax.Array:
    """The head's logits [N, C]."""
    return features @ params["kernel"] + params["bias"][None]


def accuracy(params: dict[str, jax.Array], features: np.ndarray, labels: np.ndarray) -> float:
    """Share of right answers."""
    return float(np.mean(np.asarray(logits_of(params, features)).argmax(axis=1) == labels))


def main() -> None:
    """Prints test accuracy for every seed, and mean and standard deviation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="by default that of the quickstart")
    parser.add_argument("--data", default="sst2")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    source = load_splits(options.data, data_dir=options.data_dir)
    classes = len(source.train.label_names)
    directory = options.model or minilm()
    model = load_classifier(directory, num_labels=classes)
    tokenizer = open_tokenizer(directory)
    protocol, found = PROTOCOLS["clean"], []
    read = lambda examples: tokenize(tokenizer, examples, MAX_LENGTH)
    test = None
    for seed in options.seeds:
        parts = divide(
            protocol,
            source,
            train_examples=protocol.train_examples,
            dev_examples=protocol.dev_examples,
            seed=seed,
        )
        if test is None:  # the same rows for every seed
            test = features_of(model, read(parts.test))
            print(f"majority class {parts.test.majority_accuracy():.4f} ({len(test)} examples)")
        train, dev = (features_of(model, read(rows)) for rows in (parts.train, parts.validation))
        probes = {
            decay: fit(train, jnp.asarray(parts.train.labels), decay, classes)
            for decay in WEIGHT_DECAYS
        }
        dev_scores = {
            d: accuracy(probe, dev, parts.validation.labels) for d, probe in probes.items()
        }
        best = max(WEIGHT_DECAYS, key=lambda decay: dev_scores[decay])
        found.append(accuracy(probes[best], test, parts.test.labels))
        print(
            f"seed {seed}: test accuracy {found[-1]:.4f}, dev {dev_scores[best]:.4f}, "
            f"weight decay {best:g}",
            flush=True,
        )
    spread = f" ± {statistics.stdev(found):.4f}" if len(found) > 1 else ""
    print(f"test accuracy {statistics.fmean(found):.4f}{spread} (protocol {protocol.name})")


if __name__ == "__main__":
    main()
