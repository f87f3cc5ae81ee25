"""The score of a fine-tuned model on labelled texts."""

from typing import Any, NamedTuple

from loren_jax.models import load_classifier, locate
from loren_jax.objectives import Scorer
from loren_jax.objectives.classification import DEFAULT_MAX_LENGTH, TASK_MAX_LENGTH, length_limit
from loren_jax.objectives.labels import relabel
from loren_jax.objectives.reader import Reader
from loren_jax.objectives.saved_model import model_directory, read_prompt
from loren_jax.tasks import TASKS, Examples, Prompt, draw, load_examples, load_splits, read_task
from loren_jax.tasks.examples import is_file
from loren_jax.train.config import EvaluateConfig


class Evaluation(NamedTuple):
    """Result of an evaluation.

    Attributes:
        scores: Loss, accuracy and the metrics that count for this data, by name.
        majority_accuracy: What always answering the most frequent class would have.
    """

    scores: dict[str, Any]
    majority_accuracy: float


def evaluate(config: EvaluateConfig) -> Evaluation:
    """Scores a model; one that was trained with a prompt gets it here too.

    Args:
        config: Which model, on what.

    Returns:
        Its score, and the trivial one to compare with.

    Raises:
        ValueError: If the data or the checkpoint is malformed, or a label is unknown to the model.
        OSError: If a file is absent.
    """
    directory = locate(model_directory(config.model))
    prompted = read_prompt(directory)
    default = TASK_MAX_LENGTH if config.data in TASKS else DEFAULT_MAX_LENGTH
    if prompted is None:
        prompt, reader = None, Reader(directory, None)
        model = load_classifier(directory)
    else:
        prompt, label_names, default = prompted
        reader = Reader(directory, prompt)
        model = reader.prompted_model(label_names)
    examples = _examples(config, model.label_names, prompt)
    positions = model.config.max_length
    limit = length_limit(config.max_length, default, positions)
    tokens = reader.tokens(examples, limit, positions)
    metrics = TASKS[config.data].metrics if config.data in TASKS else ()
    score = Scorer(model.apply, tokens, config.batch_size, metrics=metrics, title="evaluating")
    return Evaluation(score(model.params), examples.majority_accuracy())


def _examples(
    config: EvaluateConfig, label_names: tuple[str, ...], prompt: Prompt | None
) -> Examples:
    if config.data in TASKS:
        task = TASKS[config.data]
        rows = read_task(task, "validation", data_dir=config.data_dir, prompt=prompt)
        return relabel(rows, label_names)
    columns = {
        "columns": config.columns,
        "text_columns": config.text_columns if prompt is None else prompt.fields,
        "label_column": config.label_column,
    }
    if config.held_out:
        whole = load_splits(config.data, **columns)
        drawn = draw(whole, config.train_examples, config.held_out_examples, config.seed)
        assert drawn.validation is not None
        return relabel(drawn.validation, label_names)
    split = config.split if is_file(config.data) else config.split or "validation"
    return load_examples(config.data, split=split, label_names=label_names, **columns)
