"""The score of a fine-tuned model on labelled texts."""

from pathlib import Path
from typing import Any, NamedTuple

from loren_jax import journal
from loren_jax.models import Classifier, load_classifier, locate
from loren_jax.objectives import Scorer
from loren_jax.objectives.classification import TASK_MAX_LENGTH
from loren_jax.objectives.labels import relabel
from loren_jax.objectives.saved_model import Reader, model_directory, read_prompt
from loren_jax.objectives.shared_config import length_limit
from loren_jax.reports.files import JOURNAL
from loren_jax.tasks import TASKS, Examples, Prompt, draw, load_examples, load_splits, read_task
from loren_jax.tasks.sources import HELD_OUT, local_splits
from loren_jax.train.config import EvaluateConfig
from loren_jax.train.text_evaluation import config_of_run, evaluate_text, writes


class Evaluation(NamedTuple):
    """Loss, accuracy and the metrics that count; what the most frequent class would have.

    Of a language model there are no classes, and the latter is None.
    """

    scores: dict[str, Any]
    majority_accuracy: float | None


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
    if writes(config.model):
        return Evaluation(evaluate_text(config), None)
    model, reader, prompt = open_model(config.model)
    examples = _examples(config, model.label_names, prompt)
    limit = max_length_of(config.model, config.max_length, model)
    tokens = reader.tokens(examples, limit, model.config)
    metrics = TASKS[config.data].metrics if config.data in TASKS else ()
    score = Scorer(
        model.apply,
        tokens,
        config.batch_size,
        metrics=metrics,
        label_names=model.label_names,
        title="evaluating",
    )
    return Evaluation(score(model.params), examples.majority_accuracy())


def open_model(model: str, dtype: str = "float32") -> tuple[Classifier, Reader, Prompt | None]:
    """A fine-tuned model, as a user names it, with its tokenizer and the prompt of its training."""
    directory = locate(model_directory(model))
    prompted = read_prompt(directory)
    if prompted is None:
        return load_classifier(directory, dtype=dtype), Reader(directory, None), None
    prompt, label_names, _ = prompted
    reader = Reader(directory, prompt)
    return reader.prompted_model(label_names, dtype=dtype), reader, prompt


def max_length_of(model: str, asked: int | None, loaded: Classifier) -> int:
    """The longest input: as asked for, else that of the model's training, else a task's."""
    place = Path(model_directory(model))
    if asked is None and (prompted := read_prompt(place)) is not None:
        asked = prompted[2]
    record = place.parent / JOURNAL
    if asked is None and record.is_file():
        asked = journal.read(record).header["run"].get("max_length")
    return length_limit(asked, TASK_MAX_LENGTH, loaded.config.max_length)


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
        told = config_of_run(config) or vars(config)
        sizes_and_seed = (told[n] for n in ("train_examples", "held_out_examples", "seed"))
        drawn = draw(whole, *sizes_and_seed)
        assert drawn.validation is not None
        return relabel(drawn.validation, label_names)
    split = config.split or (None if local_splits(config.data) == ("train",) else HELD_OUT)
    # Most classifiers on the Hub have names that the data has in another case, or as numbers.
    numbered = len({*map(str.lower, label_names)}) == len(label_names)
    numbered &= not any(name.isdecimal() for name in label_names)
    return load_examples(
        config.data, split=split, label_names=label_names, numbered=numbered, **columns
    )
