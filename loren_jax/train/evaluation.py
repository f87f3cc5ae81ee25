"""The score of a fine-tuned model on labelled texts."""

from typing import NamedTuple

from loren_jax.models import load_classifier, locate
from loren_jax.tasks import TASKS, Examples, Prompt, load_examples, load_task, read_task
from loren_jax.tasks.text_classification import is_file
from loren_jax.train.config import EvaluateConfig
from loren_jax.train.labels import relabel
from loren_jax.train.preparation import DEFAULT_MAX_LENGTH, TASK_MAX_LENGTH, length_limit
from loren_jax.train.reading import Reader
from loren_jax.train.saving import read_prompt
from loren_jax.train.scoring import Score, Scorer


class Evaluation(NamedTuple):
    """Result of an evaluation.

    Attributes:
        score: The model's score.
        majority_accuracy: What always answering the most frequent class would have.
        metrics: The metrics that count for this data, by name.
    """

    score: Score
    majority_accuracy: float
    metrics: dict[str, float]


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
    directory = locate(config.model)
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
    score = Scorer(model.apply, tokens, config.batch_size, title="evaluating")(model.params)
    assert score is not None  # nobody asked to give up
    names = TASKS[config.data].metrics if config.data in TASKS else ("accuracy",)
    return Evaluation(
        score, examples.majority_accuracy(), {name: score.metric(name) for name in names}
    )


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
        held_out = load_task(
            config.data,
            train_examples=config.train_examples,
            held_out_examples=config.held_out_examples,
            seed=config.seed,
            **columns,
        )[1]
        return relabel(held_out, label_names)
    split = config.split if is_file(config.data) else config.split or "validation"
    return load_examples(config.data, split=split, label_names=label_names, **columns)
