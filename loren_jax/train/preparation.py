"""What a run needs before its first step: a model, token arrays, and the rules it is judged by."""

import sys
from pathlib import Path
from typing import NamedTuple

from loren_jax.models import Classifier, load_classifier, locate
from loren_jax.tasks import (
    Division,
    Examples,
    Pool,
    Prompt,
    Tokens,
    divide,
    load_pool,
)
from loren_jax.tasks.sources import drawn
from loren_jax.train.cluster.devices import OneDevice
from loren_jax.train.config import TrainConfig
from loren_jax.train.labels import relabel
from loren_jax.train.reading import Reader
from loren_jax.train.saving import Origin

DEFAULT_MAX_LENGTH, TASK_MAX_LENGTH = 64, 128


class Preparation(NamedTuple):
    """A run, ready to start.

    Attributes:
        source: Where the model came from.
        model: The model.
        label_names: The classes, in the order of its answers.
        train: What the steps see.
        held_out: What the evaluations see.
        test: What is scored once at the end; None where the evaluations are what is reported.
        majority_accuracy: On `held_out`, of always answering its most frequent class.
        test_majority_accuracy: The same on `test`.
        metrics: Names of the metrics that count, the selecting one first.
        protocol: Title of the protocol, with what departs from it; None without one.
        max_length: Longest input in tokens.
        prompt: What surrounds the texts, if anything does.
    """

    source: Path
    model: Classifier
    label_names: tuple[str, ...]
    train: Tokens
    held_out: Tokens
    test: Tokens | None
    majority_accuracy: float
    test_majority_accuracy: float | None
    metrics: tuple[str, ...]
    protocol: str | None
    max_length: int
    prompt: Prompt | None

    @property
    def origin(self) -> Origin:
        """What a saved model must tell of the run."""
        return Origin(
            self.source, self.model.config, self.label_names, self.prompt, self.max_length
        )


def prepare(config: TrainConfig, devices: OneDevice | None = None) -> Preparation:
    """Loads data and model.

    Args:
        config: What to do.
        devices: Where the arrays of the run lie.

    Returns:
        The run, ready to start.

    Raises:
        ValueError: If the data, the checkpoint or an argument is wrong.
        OSError: If a file is absent.
    """
    devices = devices or OneDevice()
    source, prompt = locate(config.model), config.prompting
    pool = load_pool(
        config.data,
        data_dir=config.data_dir,
        held_out_data=config.held_out_data,
        prompt=prompt,
        columns=config.columns,
        text_columns=config.text_columns,
        label_column=config.label_column,
    )
    division = _divide(config, pool)
    reader = Reader(source, prompt)
    model = _model(config, source, pool.train.label_names, reader, devices)
    names = pool.train.label_names
    if set(names) == set(model.label_names):  # a head that knows these classes keeps its order
        names = model.label_names
    limit = length_limit(
        config.max_length,
        config.rules.max_length if config.rules else DEFAULT_MAX_LENGTH,
        model.config.max_length,
    )

    def tokens(examples: Examples) -> Tokens:
        return reader.tokens(relabel(examples, names), limit, model.config.max_length)

    test = division.test
    return Preparation(
        source=source,
        model=model,
        label_names=names,
        train=tokens(division.train),
        held_out=tokens(division.dev),
        test=None if test is None else tokens(test),
        majority_accuracy=division.dev.majority_accuracy(),
        test_majority_accuracy=None if test is None else test.majority_accuracy(),
        metrics=config.rules.metrics(pool) if config.rules else ("accuracy",),
        protocol=_protocol_title(config, limit),
        max_length=limit,
        prompt=prompt,
    )


def length_limit(asked: int | None, default: int, positions: int | None) -> int:
    """The longest input, which a model's position table bounds.

    Args:
        asked: What the user asked for; None for the default.
        default: What it is then, if the model has so many positions.
        positions: Positions of the model; None for any number.

    Returns:
        A number of tokens.

    Raises:
        ValueError: If more was asked for than the model has.

    Example:
        >>> length_limit(None, 128, 512), length_limit(None, 128, 16), length_limit(20, 128, None)
        (128, 16, 20)
    """
    if asked is None:
        return default if positions is None else min(default, positions)
    if positions is not None and asked > positions:
        raise ValueError(
            f"max_length is {asked}, but the model has {positions} positions; give at most "
            f"{positions}, or another model"
        )
    return asked


def _divide(config: TrainConfig, pool: Pool) -> Division:
    if config.rules is None:
        return Division(
            *drawn(pool, config.train_examples, config.held_out_examples, config.seed), None
        )
    division = divide(
        config.rules,
        pool,
        train_examples=config.train_examples,
        dev_examples=config.dev_examples,
        test_examples=config.held_out_examples,
        seed=config.seed,
    )
    rows, wanted = len(division.train), config.train_examples
    if wanted is not None and rows < wanted:
        print(
            f"{config.data} has only {len(pool.train)} training examples: {rows} of them to train "
            f"on, {len(division.dev)} examples to select by",
            file=sys.stderr,
        )
    if config.batch_size > rows:
        raise ValueError(
            f"batch_size is {config.batch_size}, but there are only {rows} training examples: "
            "lower batch_size"
        )
    return division


def _model(
    config: TrainConfig,
    source: Path,
    label_names: tuple[str, ...],
    reader: Reader,
    devices: OneDevice,
) -> Classifier:
    if config.prompt:
        return reader.prompted_model(label_names, dtype=config.dtype, sharding=devices.sharding)
    return load_classifier(
        source,
        num_labels=len(label_names),
        pooling=config.pooling,
        key=config.seed,
        dtype=config.dtype,
        sharding=devices.sharding,
    )


def _protocol_title(config: TrainConfig, max_length: int) -> str | None:
    if config.rules is None:
        return None
    return config.rules.title(
        train_examples=config.train_examples,
        dev_examples=config.dev_examples,
        max_length=max_length,
        prompted=config.prompt,
    )
