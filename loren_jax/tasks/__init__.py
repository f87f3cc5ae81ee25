"""Text classification tasks: where the data comes from, and the batches a training step sees.

The way is always the same: a source becomes `Examples` (`load_task`, `load_pool`, `read_task`),
these become `Tokens` (`tokenize`), and a step takes the rows that `batch_indices` names. Named
tasks are in `TASKS`, what a reported number means in `PROTOCOLS`. `datasets` and `transformers` are
imported only when they are needed.
"""

from loren_jax.tasks.batches import (
    EvaluationBatch,
    Tokens,
    batch_indices,
    evaluation_batches,
)
from loren_jax.tasks.metrics import METRICS
from loren_jax.tasks.prompts import Prompt, answer_ids
from loren_jax.tasks.protocols import PROTOCOLS, Division, Protocol, divide
from loren_jax.tasks.sources import Pool, load_pool, load_task
from loren_jax.tasks.task import Task
from loren_jax.tasks.task_data import TASKS, read_task
from loren_jax.tasks.text_classification import Examples, load_examples, split
from loren_jax.tasks.tokenization import open_tokenizer, tokenize

__all__ = [
    "METRICS", "PROTOCOLS", "TASKS", "Division", "EvaluationBatch", "Examples", "Pool",
    "Prompt", "Protocol", "Task", "Tokens", "answer_ids", "batch_indices", "divide",
    "evaluation_batches", "load_examples", "load_pool", "load_task", "open_tokenizer",
    "read_task", "split", "tokenize",
]  # fmt: skip
