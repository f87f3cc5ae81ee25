"""One word for the data, as a command line gives it, to a training and a held-out set.

The word is `reviews`, a local file, or the name of a Hub data set. Whichever it is, both sets use
the label names of the training data, and the same seed draws the same examples.
"""

from collections.abc import Sequence
from typing import Any

from loren_jax.tasks.reviews import movie_reviews
from loren_jax.tasks.text_classification import Examples, is_file, load_examples, split

REVIEWS = "reviews"


def load_task(
    data: str,
    *,
    train_examples: int | None = 512,
    held_out_examples: int | None = 500,
    held_out_data: str | None = None,
    columns: Sequence[str] | None = None,
    text_columns: Sequence[str] | None = None,
    label_column: str = "label",
    seed: int = 0,
) -> tuple[Examples, Examples]:
    """Load the training and the held-out examples of a task.

    Args:
        data: `reviews`, a `.tsv`, `.csv`, `.json` or `.jsonl` file, or a Hub data set such as
            `nyu-mll/glue:sst2`.
        train_examples: number of training examples to draw; `None` for all that are left.
        held_out_examples: number of held-out examples to draw; `None` for all that are left, of a
            single source those that are not for training.
        held_out_data: where held-out examples come from, a file or a Hub data set (its
            `validation` split). By default a Hub data set's own `validation` split, and for
            `reviews` and files a part of the same data.
        columns: column names of TSV or CSV files without header.
        text_columns: the column of the text or the two of a pair; by default found by name.
        label_column: the column of the labels.
        seed: of the draw, not negative.

    Returns:
        The training and the held-out examples, disjoint if drawn from one source.

    Raises:
        FileNotFoundError: if a file does not exist.
        ConnectionError: if a Hub data set cannot be reached.
        FetchError: if the reviews cannot be fetched.
        ValueError: if data is malformed, a held-out label is unknown, or there are too few
            examples.
    """
    options = {"columns": columns, "text_columns": text_columns, "label_column": label_column}
    examples = movie_reviews() if data == REVIEWS else _load(data, "train", **options)
    if held_out_data is None and (data == REVIEWS or is_file(data)):
        return _split(examples, train_examples, held_out_examples, seed)
    held_out = _load(
        held_out_data or data, "validation", label_names=examples.label_names, **options
    )
    return _draw(examples, train_examples, seed), _draw(held_out, held_out_examples, seed)


def _load(data: str, hub_split: str, *, columns: Any, **options: Any) -> Examples:
    """Load a file, or the given split of a Hub data set, which has no use for column names."""
    if is_file(data):
        return load_examples(data, columns=columns, **options)
    return load_examples(data, split=hub_split, **options)


def _split(
    examples: Examples, train: int | None, held_out: int | None, seed: int
) -> tuple[Examples, Examples]:
    """Split one source; one of the two numbers may be `None` for the rest."""
    if train is None and held_out is None:
        raise ValueError(
            "train_examples and held_out_examples are both None, but both sets come from the same "
            "data; give one of them, or held_out_data"
        )
    if train is None:
        train = max(0, len(examples) - (held_out or 0))
    elif held_out is None:
        held_out = max(0, len(examples) - train)
    return split(examples, train=train, held_out=held_out or 0, seed=seed)


def _draw(examples: Examples, count: int | None, seed: int) -> Examples:
    count = len(examples) if count is None else count
    return split(examples, train=count, held_out=0, seed=seed)[0]
