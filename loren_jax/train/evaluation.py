"""The score of a fine-tuned model on labelled texts."""

from typing import NamedTuple

from loren_jax.models import load_classifier, locate
from loren_jax.tasks import Examples, load_examples, load_task, movie_reviews, tokenize
from loren_jax.tasks.sources import REVIEWS
from loren_jax.tasks.text_classification import is_file
from loren_jax.train.config import EvaluateConfig
from loren_jax.train.labels import relabel
from loren_jax.train.scoring import Score, Scorer


class Evaluation(NamedTuple):
    """Result of an evaluation.

    Attributes:
        score: The model's score.
        majority_accuracy: What always answering the most frequent class would have.
    """

    score: Score
    majority_accuracy: float


def evaluate(config: EvaluateConfig) -> Evaluation:
    """Scores a model.

    Args:
        config: Which model, on what.

    Returns:
        Its score, and the trivial one to compare with.

    Raises:
        ValueError: If the data or the checkpoint is malformed, or a label is unknown to the model.
        OSError: If a file is absent.
    """
    directory = locate(config.model)
    model = load_classifier(directory)
    examples = _examples(config, model.label_names)
    tokens = tokenize(directory, examples, config.max_length)
    score = Scorer(model.apply, tokens, config.batch_size)(model.params)
    assert score is not None  # nobody asked to give up
    return Evaluation(score, examples.majority_accuracy())


def _examples(config: EvaluateConfig, label_names: tuple[str, ...]) -> Examples:
    columns = {
        "columns": config.columns,
        "text_columns": config.text_columns,
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
    if config.data == REVIEWS:
        return relabel(movie_reviews(), label_names)
    split = config.split if is_file(config.data) else config.split or "validation"
    return load_examples(config.data, split=split, label_names=label_names, **columns)
