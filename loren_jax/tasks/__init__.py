"""Text classification tasks: where the data comes from, and the batches a training step sees.

The way is always the same: a source becomes `Examples` (`load_task`, `load_examples`,
`movie_reviews`), these become `Tokens` (`tokenize`), and a step takes the rows that
`batch_indices` names. `datasets` and `transformers` are imported only when they are needed.
"""

from loren_jax.tasks.batches import (
    EvaluationBatch,
    Tokens,
    batch_indices,
    evaluation_batches,
)
from loren_jax.tasks.package_index import FetchError
from loren_jax.tasks.reviews import movie_reviews
from loren_jax.tasks.sources import load_task
from loren_jax.tasks.text_classification import Examples, load_examples, split
from loren_jax.tasks.tokenization import open_tokenizer, tokenize

__all__ = [
    "EvaluationBatch",
    "Examples",
    "FetchError",
    "Tokens",
    "batch_indices",
    "evaluation_batches",
    "load_examples",
    "load_task",
    "movie_reviews",
    "open_tokenizer",
    "split",
    "tokenize",
]
