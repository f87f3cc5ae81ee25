"""One run from its configuration to the files it leaves."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax

from loren_jax.models import Classifier, export_classifier, load_classifier, locate
from loren_jax.tasks import Tokens, batch_indices, load_task, tokenize
from loren_jax.train import run_directory as files
from loren_jax.train.config import TrainConfig
from loren_jax.train.environment import environment, peak_device_bytes, peak_resident_bytes
from loren_jax.train.interruption import Interruption
from loren_jax.train.labels import relabel
from loren_jax.train.loop import Outcome, TrainingLoop
from loren_jax.train.methods import METHODS, build_optimizer, passes_of_step
from loren_jax.train.metrics import METRICS, MetricsWriter, read_metrics
from loren_jax.train.plot import plot_curve
from loren_jax.train.progress import Progress
from loren_jax.train.scoring import Scorer
from loren_jax.train.step import make_train_step
from loren_jax.train.summary import Summary
from loren_jax.train.trainable import parameter_counts, trainable_mask


class RunResult(NamedTuple):
    """What a run leaves.

    Attributes:
        summary: Its numbers.
        directory: Where its files are.
        files: Their names.
    """

    summary: Summary
    directory: Path
    files: list[str]


class _Parts(NamedTuple):
    """A run, ready to start."""

    source: Path
    model: Classifier
    label_names: tuple[str, ...]
    train: Tokens
    held_out: Tokens
    majority_accuracy: float
    mask: Any


def train(config: TrainConfig) -> RunResult:
    """Fine-tunes a classifier and writes model, metrics, curve and summary.

    Ctrl-C or SIGTERM ends the run after the current step, and what was learned is kept; the
    summary then says `interrupted`.

    Args:
        config: What to do.

    Returns:
        The numbers, and where the files are.

    Raises:
        ValueError: If the data, the checkpoint or an argument is wrong.
        OSError: If a file is absent or the output directory is in use.
        FloatingPointError: If there was no finite loss for `max_dead_steps` steps.
    """
    directory = config.directory
    files.check_free(directory, overwrite=config.overwrite)
    parts = _prepare(config)
    files.claim(directory)
    with MetricsWriter(directory / METRICS) as metrics:
        facts = {"config": config.as_json(), **environment()}
        files.write_json(directory / files.CONFIG, facts)
        metrics.write("config", 0, 0, **facts)
        outcome, compilation = _run(config, parts, metrics)
        # Saved before anything else can fail; the summary comes last and says that all is there.
        export_classifier(
            directory / files.MODEL,
            parts.source,
            parts.model.config,
            outcome.params,
            parts.label_names,
            overwrite=config.overwrite,
        )
        summary = _summary(config, parts, outcome, compilation)
        metrics.write("summary", outcome.steps, outcome.forward_passes, **_beside(summary))
    plot_curve(
        read_metrics(directory),
        directory / files.CURVE,
        majority_accuracy=summary.majority_accuracy,
        title=f"{config.method} on {config.model}, {config.data}, seed {config.seed}",
    )
    files.write_json(directory / files.SUMMARY, summary.as_json())
    names = [f"{files.MODEL}/", METRICS, files.CURVE, files.SUMMARY, files.CONFIG]
    return RunResult(summary, directory, names)


def _prepare(config: TrainConfig) -> _Parts:
    source = locate(config.model)
    examples, held_out = load_task(
        config.data,
        train_examples=config.train_examples,
        held_out_examples=config.held_out_examples,
        held_out_data=config.held_out_data,
        columns=config.columns,
        text_columns=config.text_columns,
        label_column=config.label_column,
        seed=config.seed,
    )
    model = load_classifier(
        source,
        num_labels=len(examples.label_names),
        pooling=config.pooling,
        key=config.seed,
        dtype=config.dtype,
    )
    names = examples.label_names
    if set(names) == set(model.label_names):  # a head that knows these classes keeps its order
        names = model.label_names
    return _Parts(
        source=source,
        model=model,
        label_names=names,
        train=tokenize(source, relabel(examples, names), config.max_length),
        held_out=tokenize(source, relabel(held_out, names), config.max_length),
        majority_accuracy=held_out.majority_accuracy(),
        mask=trainable_mask(config.trainable, model.params),
    )


class _Compilation(NamedTuple):
    seconds: float
    temporary_bytes: int | None


def _run(
    config: TrainConfig, parts: _Parts, metrics: MetricsWriter
) -> tuple[Outcome, _Compilation]:
    optimizer = build_optimizer(
        config.optimizer, learning_rate=_schedule(config), mask=parts.mask, key=config.seed
    )
    # A copy, because the step overwrites what it is given and `parts` may be asked again.
    params = jax.tree.map(lambda leaf: leaf.copy(), parts.model.params)
    opt_state = jax.jit(optimizer.init)(params)

    def batch(step: int) -> Tokens:
        number = len(parts.train.labels)
        return parts.train.rows(batch_indices(config.seed, step, number, config.batch_size))

    start = time.perf_counter()
    step = make_train_step(parts.model.apply, optimizer, micro_batch_size=config.micro_batch_size)
    full = jax.device_put(parts.train) if METHODS[config.method].full_every else None
    # Compiled before it is called, so that it cannot be compiled twice and its memory is known.
    compiled = step.lower(params, opt_state, batch(0), full).compile()
    seconds = time.perf_counter() - start
    batches = -(-len(parts.train.labels) // config.batch_size)
    scorer = Scorer(parts.model.apply, parts.held_out, config.eval_batch_size)
    with Progress(config.steps) as progress, Interruption() as interruption:
        loop = TrainingLoop(
            lambda params, opt_state, tokens: compiled(params, opt_state, tokens, full),
            scorer,
            batch,
            lambda step: passes_of_step(config.optimizer, step, batches),
            steps=config.steps,
            eval_every=config.eval_every,
            max_dead_steps=config.max_dead_steps,
            metrics=metrics,
            progress=progress,
            interruption=interruption,
        )
        outcome = loop.run(params, opt_state)
    analysis = compiled.memory_analysis()
    return outcome, _Compilation(seconds, getattr(analysis, "temp_size_in_bytes", None))


def _schedule(config: TrainConfig) -> Any:
    if config.schedule == "constant":
        return config.optimizer.learning_rate
    return optax.linear_schedule(config.optimizer.learning_rate, 0.0, config.steps)


def _summary(
    config: TrainConfig, parts: _Parts, outcome: Outcome, compilation: _Compilation
) -> Summary:
    before, after = outcome.before, outcome.after
    trained, total = parameter_counts(parts.mask, parts.model.params)
    seconds = outcome.training_seconds
    return Summary(
        optimizer=config.method,
        model=config.model,
        data=config.data,
        steps=outcome.steps,
        planned_steps=config.steps,
        interrupted=outcome.interrupted,
        accuracy_before=before.accuracy if before else None,
        accuracy_after=after.accuracy if after else None,
        loss_before=before.loss if before else None,
        loss_after=after.loss if after else None,
        majority_accuracy=parts.majority_accuracy,
        held_out_examples=len(parts.held_out.labels),
        trained_parameters=trained,
        parameters=total,
        forward_passes=outcome.forward_passes,
        evaluation_forward_passes=outcome.evaluation_forward_passes,
        nonfinite=outcome.nonfinite,
        training_seconds=round(seconds, 3),
        evaluation_seconds=round(outcome.evaluation_seconds, 3),
        compile_seconds=round(compilation.seconds, 3),
        forward_passes_per_second=outcome.forward_passes / seconds if seconds else None,
        temporary_bytes=compilation.temporary_bytes,
        peak_resident_bytes=peak_resident_bytes(),
        peak_device_bytes=peak_device_bytes(),
    )


def _beside(summary: Summary) -> dict[str, Any]:
    """The summary without the names that every line of the metrics has anyway."""
    own = ("steps", "forward_passes")
    return {name: value for name, value in summary.as_json().items() if name not in own}
