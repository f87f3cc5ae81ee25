"""Texts with a label, answered by a classification head or by a prompt's words."""

import dataclasses
import functools
import math
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax.evaluation import Sharded
from loren_jax.inputs import input_factors
from loren_jax.losses import micro_batched
from loren_jax.models import Classifier, locate
from loren_jax.noise import leaf_paths
from loren_jax.objectives.adapters import TrainableModel, head_patterns, trainable_model
from loren_jax.objectives.config import ClassificationConfig
from loren_jax.objectives.labels import in_heads_order, relabel
from loren_jax.objectives.new_head import Answering, answering
from loren_jax.objectives.saved_model import (
    ModelObjective,
    Origin,
    Reader,
    model_directory,
    model_of,
    save_model,
)
from loren_jax.objectives.scoring import Scorer, cross_entropy
from loren_jax.objectives.shared_config import length_limit
from loren_jax.tasks import (
    TASKS,
    Examples,
    Splits,
    Tokens,
    batch_indices,
    divide,
    draw,
    load_splits,
)
from loren_jax.types import PyTree

DEFAULT_MAX_LENGTH, TASK_MAX_LENGTH = 64, 128


class Classification(ModelObjective):
    """The objective of a text classifier; see `loren_jax.objectives.objective` for its attributes.

    Args:
      config: What is asked.
      evaluation: The mesh that the optimiser evaluates on.
      sharding: `(path, shape) -> NamedSharding` of the model's parameters; None for one device.
      shown: Whether to show the progress of the last score.

    Raises:
      ValueError: If the data, the checkpoint or an argument is wrong.
      OSError: If a file is absent.
    """

    def __init__(
        self,
        config: ClassificationConfig,
        *,
        evaluation: Sharded | None = None,
        sharding: Any = None,
        shown: bool = True,
    ):
        self._config, self._evaluation = config, evaluation
        prepared = self._prepared = _prepare(config, sharding)
        trainable = trainable_model(config, prepared.model)
        super().__init__(config, trainable, *prepared.origin[:2])
        metrics = prepared.metrics
        score = functools.partial(
            Scorer,
            trainable.apply,
            batch_size=config.eval_batch_size,
            frozen=trainable.frozen,
            metrics=metrics,
            label_names=prepared.origin.label_names,
            evaluation=evaluation,
        )
        self.evaluate: Callable[[PyTree], dict[str, Any]] = score(tokens=prepared.held_out)
        self.evaluation_passes = self.evaluate.passes
        self.test = None
        if prepared.test is not None:
            scorer = score(tokens=prepared.test, title="test" if shown else None)
            majority = {"majority_accuracy": prepared.test_majority_accuracy}
            self.test = lambda params: {**scorer(params), **majority}
        self.batches = -(-len(prepared.train.labels) // config.batch_size)
        self.select = metrics[0] if config.rules else None
        self.held_out = "dev" if config.rules else "held-out"
        self.shown: tuple[str, ...] = ("loss", metrics[0])
        protocol = "" if prepared.protocol is None else f"\nprotocol {prepared.protocol}"
        self.title = f"{config.model}, {config.data}, seed {config.seed}{protocol}"
        splits = {
            "training data": prepared.train,
            "held-out data": prepared.held_out,
            "test data": prepared.test,
        }
        self.inputs = {name: tokens for name, tokens in splits.items() if tokens is not None}
        if shown:  # before anything is computed
            print(prepared.description, file=sys.stderr)

    @property
    def full_batch(self) -> Tokens:
        """All training data."""
        tokens, evaluation = self._prepared.train, self._evaluation
        if evaluation is None:
            return jax.device_put(tokens)
        parts = int(np.prod([evaluation.mesh.shape[name] for name in evaluation.data]))
        if len(tokens.labels) % parts:  # every device then has all of them
            evaluation = dataclasses.replace(evaluation, data=())
        return evaluation.place_batch(tokens)

    @property
    def factors(self) -> dict[str, np.ndarray] | None:
        """Fan-in vectors of the trained matrices, where the configuration asks for them."""
        if self._config.input_directions is None:
            return None
        return find_factors(self._config, self._prepared.train, self.trainable)

    @property
    def passes_before(self) -> int:
        """Forward passes of a minibatch that finding the factors takes."""
        return 0 if self._config.input_directions is None else self.batches

    @property
    def facts(self) -> dict[str, Any]:
        """What a journal must say so that the model can be made again from it."""
        origin = self._prepared.origin
        prompt = origin.prompt
        return {
            "label_names": list(origin.label_names),
            "max_length": origin.max_length,
            "prompt": None if prompt is None else [prompt.template, list(prompt.words)],
        }

    @property
    def told(self) -> dict[str, Any]:
        """Facts for the summary."""
        prepared, config = self._prepared, self._config
        return {
            "model": config.model,
            "data": config.data,
            "seed": config.seed,
            "protocol": prepared.protocol,
            "prompt": config.prompt,
            "metric": prepared.metrics[0],
            "held_out": self.held_out,
            "majority_accuracy": prepared.majority_accuracy,
            "train_examples": len(prepared.train.labels),
            "held_out_examples": len(prepared.held_out.labels),
            "class_counts": prepared.class_counts,
            "texts_per_example": prepared.texts_per_example,
            "trained_parameters": self.trainable.trained_parameters,
            "parameters": self.trainable.parameters,
            "columns": ["protocol", "majority_accuracy"],
        }

    @property
    def chance(self) -> float:
        """The loss of knowing nothing: all classes alike."""
        return math.log(max(2, len(self._prepared.origin.label_names)))

    @property
    def new_head_with_more(self) -> bool:
        """Whether more than a new head is trained."""
        paths, layer = leaf_paths(self.params), self._prepared.model.new_layer
        if layer is None:
            return False
        trained = set(paths if self.trained_paths is None else self.trained_paths)
        patterns = head_patterns(self._prepared.model.config)
        of_head = lambda path: any(fnmatch(f"/{path}", f"*/{pattern}") for pattern in patterns)
        return 0 < sum(map(of_head, trained)) < len(trained)

    def answering(self) -> Answering:
        """What noise costs of the answers that its new head would give; see `new_head`."""
        layer = self._prepared.model.new_layer
        assert layer is not None
        return answering(
            lambda params, tokens, *frozen: self.trainable.apply(params, *tokens[:3], *frozen),
            self.params,
            self.batch,
            layer,
            self.frozen,
            self._config.micro_batch_size,
        )

    def loss(self, params: PyTree, batch: Tokens, *frozen: Any) -> jax.Array:
        """Mean cross-entropy of a batch, in micro-batches where they are asked for."""

        def mean(params: PyTree, tokens: Tokens) -> jax.Array:
            logits = self.trainable.apply(params, *tokens[:3], *frozen)
            return jnp.mean(cross_entropy(logits, tokens.labels))

        size = self._config.micro_batch_size
        return micro_batched(mean, batch, len(batch.labels) if size is None else size)(params)

    def batch(self, step: int) -> Tokens:
        """The rows of a step."""
        config, tokens = self._config, self._prepared.train
        rows = batch_indices(config.seed, step, len(tokens.labels), config.batch_size)
        place = (lambda rows: rows) if self._evaluation is None else self._evaluation.place_batch
        return place(tokens.rows(rows))

    def save(self, directory: Path, params: PyTree) -> None:
        """Writes the model of merged parameters, which `evaluate` and transformers read."""
        save_model(directory, self._prepared.origin, params, overwrite=True)


class _Prepared(NamedTuple):
    """Model and splits, of which `test` is None where the evaluations are what is reported.

    A majority accuracy is that of always answering the most frequent class; the counts of classes
    are of the training examples, each of one text or more. Of the metrics that count the first
    selects. The protocol is its title, with what departs from it; None without one.
    """

    model: Classifier
    origin: Origin
    train: Tokens
    held_out: Tokens
    test: Tokens | None
    class_counts: dict[str, int]
    texts_per_example: int
    majority_accuracy: float
    test_majority_accuracy: float | None
    metrics: tuple[str, ...]
    protocol: str | None
    description: str


def _prepare(config: ClassificationConfig, sharding: Any) -> _Prepared:
    source, prompt = locate(model_directory(config.model)), config.prompting
    whole = load_splits(
        config.data,
        data_dir=config.data_dir,
        held_out_data=config.held_out_data,
        prompt=prompt,
        columns=config.columns,
        text_columns=config.text_columns,
        label_column=config.label_column,
    )
    splits = _divide(config, whole)
    held_out, test = splits.validation, splits.test
    assert held_out is not None
    reader, names = Reader(source, prompt), whole.train.label_names
    model = model_of(config, source, reader, names, sharding)
    names = in_heads_order(names, model.label_names)
    positions = model.config.max_length
    default = config.rules.max_length if config.rules else DEFAULT_MAX_LENGTH
    limit = length_limit(config.max_length, default, positions)

    def tokens(examples: Examples) -> Tokens:
        return reader.tokens(relabel(examples, names), limit, model.config)

    return _Prepared(
        model=model,
        origin=Origin(source, model.config, names, prompt, limit),
        train=tokens(splits.train),
        held_out=tokens(held_out),
        test=None if test is None else tokens(test),
        class_counts=splits.train.class_counts(),
        texts_per_example=len(splits.train.texts[0]),
        majority_accuracy=held_out.majority_accuracy(),
        test_majority_accuracy=None if test is None else test.majority_accuracy(),
        metrics=config.rules.metrics(TASKS.get(config.data)) if config.rules else ("accuracy",),
        protocol=_protocol_title(config, limit),
        description=_describe(config.data, whole.train, splits),
    )


def _describe(data: str, whole: Examples, splits: Splits) -> str:
    """What is learned from what, for people."""
    counts = sorted(whole.class_counts().items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {count}" for name, count in counts[:10])
    more = f" and {len(counts) - 10} more classes" if len(counts) > 10 else ""
    held_out = [len(s) for s in (splits.validation, splits.test) if s is not None]
    return (
        f"{data}: {len(whole)} labelled texts ({shown}{more}); {len(splits.train)} to train on, "
        f"{' and '.join(map(str, held_out))} held out" + _seen(splits)
    )


def _seen(splits: Splits) -> str:
    """How many held-out texts are trained on too, as rows may be there twice; empty if none is."""
    trained = set(splits.train.texts)
    held_out = [text for part in splits[1:] if part is not None for text in part.texts]
    number = sum(text in trained for text in held_out)
    if not number:
        return ""
    return f"\nwarning: {number} of the {len(held_out)} held-out texts are trained on too"


def _divide(config: ClassificationConfig, whole: Splits) -> Splits:
    if config.rules is None:
        return draw(whole, config.train_examples, config.held_out_examples, config.seed)
    splits = divide(
        config.rules,
        whole,
        train_examples=config.train_examples,
        dev_examples=config.dev_examples,
        test_examples=config.held_out_examples,
        seed=config.seed,
    )
    rows, wanted = len(splits.train), config.train_examples
    if wanted is not None and rows < wanted:
        print(
            f"{config.data} has only {len(whole.train)} training examples: {rows} of them to train "
            f"on, {len(splits.validation or ())} examples to select by",
            file=sys.stderr,
        )
    if config.batch_size > rows:
        raise ValueError(
            f"batch_size is {config.batch_size}, but there are only {rows} training examples: "
            "lower batch_size"
        )
    return splits


def _protocol_title(config: ClassificationConfig, max_length: int) -> str | None:
    if config.rules is None:
        return None
    return config.rules.title(
        train_examples=config.train_examples,
        dev_examples=config.dev_examples,
        max_length=max_length,
        prompted=config.prompt,
    )


def find_factors(
    config: ClassificationConfig, train: Tokens, trainable: TrainableModel
) -> dict[str, np.ndarray]:
    """Fan-in vectors for every matrix that is trained, by path, from the training texts.

    Labels are not looked at: the loss is run forwards, and what flows into the matrices is taken
    from it. A ValueError if no trained leaf is a matrix that activations are multiplied with.
    """
    assert config.input_directions is not None
    number, size = len(train.labels), config.eval_batch_size
    batches = [train.rows(np.arange(i, min(i + size, number))) for i in range(0, number, size)]

    def loss(params: PyTree, tokens: Tokens) -> jax.Array:
        logits = trainable.apply(params, *tokens[:3], *trainable.frozen)
        return jnp.mean(cross_entropy(logits, tokens.labels))

    try:
        found = input_factors(
            loss,
            trainable.params,
            count=config.input_directions,
            power=config.input_power,
            batches=batches,
            weights=lambda tokens: tokens.attention_mask,
            mask=trainable.mask,
        )
    except ValueError as error:
        raise ValueError(
            "input_directions: no trained leaf is a matrix that activations are multiplied with; "
            "train one, such as 'classifier/kernel', or leave input_directions away"
        ) from error
    return {path: np.asarray(vectors) for path, vectors in found.items()}
