"""Texts to write like: a causal language model fine-tuned by the loss of the next token."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax.evaluation import Sharded
from loren_jax.losses import micro_batched
from loren_jax.models import LanguageModel, locate
from loren_jax.models.weights import ShardingOf
from loren_jax.objectives.adapters import storage_of, trainable_model
from loren_jax.objectives.saved_model import ModelObjective, model_directory
from loren_jax.objectives.saved_text import (
    DEFAULT_MAX_LENGTH,
    TextOrigin,
    TextReader,
    bucket_rows,
    causal_model,
    save_text_model,
)
from loren_jax.objectives.shared_config import length_limit
from loren_jax.objectives.text_answers import Answerer
from loren_jax.objectives.text_config import TextConfig
from loren_jax.objectives.text_scoring import TextScorer, token_nats
from loren_jax.objectives.text_splits import TextSplits, text_splits
from loren_jax.tasks.buckets import Buckets, SpanTokens
from loren_jax.tasks.conversations import Texts
from loren_jax.tasks.spans import SpannedRows
from loren_jax.types import PyTree


class Text(ModelObjective):
    """The objective of a language model; see `loren_jax.objectives.objective` for its attributes.

    Args:
      config: What is asked.
      evaluation: The mesh that the optimiser evaluates on.
      sharding: `(path, shape) -> NamedSharding` of the model's parameters; None for one device.
      shown: Whether to show the progress of the last score.

    Raises:
      ValueError: If the data, the checkpoint or an argument is wrong.
      OSError: If a file is absent.
      ImportError: If the model's chat template needs a package that is absent.
    """

    def __init__(
        self,
        config: TextConfig,
        *,
        evaluation: Sharded | None = None,
        sharding: ShardingOf | None = None,
        shown: bool = True,
    ):
        self._config, self._evaluation = config, evaluation
        prepared = self._prepared = _prepare(config, sharding)
        trainable = trainable_model(config, prepared.model)
        super().__init__(config, trainable, *prepared.origin[:2])

        def score(rows: Buckets, title: str | None = None) -> TextScorer:
            own = {"frozen": trainable.frozen, "evaluation": evaluation, "title": title}
            return TextScorer(trainable.apply, rows, config.eval_batch_size, **own)

        scorer = score(prepared.held_out)
        self.evaluate: Callable[[PyTree], dict[str, Any]] = scorer
        self.evaluation_passes = scorer.passes
        self.shown: tuple[str, ...] = ("loss", "token_accuracy")
        if config.generate:
            merge, asked = trainable.merge, prepared.evaluated
            answers = Answerer(config, prepared.model, prepared.reader, asked, merge)
            self.evaluate = lambda params: {**scorer(params), **answers(params)}
            self.shown = (*self.shown, "token_f1")
        self.test = None
        if prepared.test is not None:
            self.test = score(prepared.test, "test" if shown else None)
        self.batches = -(-len(prepared.train) // config.batch_size)
        self.select = "-loss" if config.keep == "best" else None
        self.held_out = "dev" if config.keep == "best" else "held-out"
        self.title = f"{config.model}, {config.data}, seed {config.seed}"
        sources = {"training data": prepared.train, "held-out data": prepared.held_out}
        sources |= {} if prepared.test is None else {"test data": prepared.test}
        self.inputs = {name: rows.flat() for name, rows in sources.items()}
        self.factors, self.passes_before = None, 0
        if shown:  # before anything is computed
            print(prepared.description, file=sys.stderr)

    @property
    def full_batch(self) -> SpanTokens:
        """All training data, in one shape."""
        rows, evaluation = self._prepared.train, self._evaluation
        tokens = rows.take(np.arange(len(rows)))
        if evaluation is None:
            return jax.device_put(tokens)
        parts = int(np.prod([evaluation.mesh.shape[name] for name in evaluation.data]))
        if len(rows) % parts:  # every device then has all of them
            evaluation = dataclasses.replace(evaluation, data=())
        return evaluation.place_batch(tokens)

    @property
    def facts(self) -> dict[str, Any]:
        """What a journal must say so that the model can be made again from it."""
        _, _, template, loss_on, max_length = self._prepared.origin
        return {"max_length": max_length, "template": template, "loss_on": loss_on}

    @property
    def told(self) -> dict[str, Any]:
        """Facts for the summary."""
        prepared, config = self._prepared, self._config
        return {
            "model": config.model,
            "data": config.data,
            "seed": config.seed,
            "template": prepared.origin.template,
            "held_out": self.held_out,
            "train_examples": len(prepared.train),
            "held_out_examples": len(prepared.held_out),
            "train_tokens": prepared.train.counted,
            "held_out_tokens": prepared.held_out.counted,
            "texts_cut": prepared.cut,
            "texts_dropped": prepared.dropped,
            "trained_parameters": self.trainable.trained_parameters,
            "parameters": self.trainable.parameters,
            "columns": [],
        }

    def loss(self, params: PyTree, batch: SpanTokens, *frozen: Any) -> jax.Array:
        """Mean over the tokens that count of a batch, in micro-batches where they are asked for."""
        rows = len(batch.input_ids)
        tokens = jnp.maximum(jnp.sum(batch.weights), 1.0)

        def share(params: PyTree, part: SpanTokens) -> jax.Array:
            logits = self.trainable.apply(params, *part[:3], *frozen)
            # A micro-batch counts by its rows: so that each counts by its tokens.
            return jnp.sum(token_nats(logits, part)) / tokens * (rows / len(part.input_ids))

        size = self._config.micro_batch_size
        return micro_batched(share, batch, rows if size is None else size)(params)

    def batch(self, step: int) -> SpanTokens:
        """The rows of a step."""
        tokens = self._prepared.train.batch(self._config.seed, step, self._config.batch_size)
        return tokens if self._evaluation is None else self._evaluation.place_batch(tokens)

    def save(self, directory: Path, params: PyTree) -> None:
        """Writes the model of merged parameters, which `evaluate` and transformers read."""
        save_text_model(directory, self._prepared.origin, params, overwrite=True)


class _Prepared(NamedTuple):
    """Model and rows, with how many texts of all were cut or dropped for their length."""

    model: LanguageModel
    reader: TextReader
    evaluated: Texts
    origin: TextOrigin
    train: Buckets
    held_out: Buckets
    test: Buckets | None
    cut: int
    dropped: int
    description: str


def _prepare(config: TextConfig, sharding: ShardingOf | None) -> _Prepared:
    source = locate(model_directory(config.model))
    splits = text_splits(config)
    reader = TextReader.of(source, config)
    storage = storage_of(config)
    model = causal_model(source, dtype=config.dtype, sharding=sharding, storage=storage)
    limit = length_limit(config.max_length, DEFAULT_MAX_LENGTH, model.config.max_length)
    found = [reader.rows(s, limit, model.config) for s in splits if s is not None]
    number = len(found[0].rows)
    if config.batch_size > number:
        raise ValueError(
            f"batch_size is {config.batch_size}, but there are only {number} rows to train on: "
            "lower batch_size"
        )
    buckets = bucket_rows(found, config.buckets, model.config)
    return _Prepared(
        model=model,
        reader=reader,
        evaluated=splits.held_out,
        origin=TextOrigin(source, model.config, reader.template, config.loss_on, limit),
        train=buckets[0],
        held_out=buckets[1],
        test=buckets[2] if len(buckets) > 2 else None,
        cut=sum(part.cut for part in found),
        dropped=sum(part.dropped for part in found),
        description=_describe(config, splits, found, buckets, limit),
    )


def _describe(
    config: TextConfig,
    splits: TextSplits,
    found: list[SpannedRows],
    buckets: list[Buckets],
    limit: int,
) -> str:
    """What is learned from what, for people."""
    counts = [len(part) for part in splits if part is not None]
    kind = "plain texts" if splits.train.documents else "dialogues"
    lines = [
        f"{config.data}: {sum(counts)} {kind}; {counts[0]} to train on, "
        f"{' and '.join(map(str, counts[1:]))} held out; {len(buckets[0])} rows of up to "
        f"{buckets[0].shapes[-1].length} tokens, of which {buckets[0].counted:,} are predicted"
    ]
    cut, dropped = (sum(getattr(part, name) for part in found) for name in ("cut", "dropped"))
    if cut:
        lines.append(f"{cut} of them are longer than {limit} tokens and are cut from the left")
    if dropped:
        lines.append(f"{dropped} of them are longer than {limit} tokens and are left out")
    return "\n".join(lines)
