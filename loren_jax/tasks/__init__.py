"""Text classification tasks: where the data comes from, and the batches a training step sees.

The way is always the same: a source becomes `Splits` of `Examples` (`load_splits`; `draw` or
`divide` take the rows of a run), these become `Tokens` (`tokenize`), and a step takes the rows that
`batch_indices` names. Named tasks are in `TASKS`, what a reported number means in `PROTOCOLS`.
`datasets` and `transformers` are imported only when they are needed.
"""

from loren_jax.tasks.batches import Tokens, batch_indices, evaluation_batches
from loren_jax.tasks.examples import Examples, load_examples, split
from loren_jax.tasks.glue import TASKS
from loren_jax.tasks.metrics import METRICS
from loren_jax.tasks.prompts import Prompt, answer_ids
from loren_jax.tasks.protocols import PROTOCOLS, Protocol, divide
from loren_jax.tasks.sources import Rows
from loren_jax.tasks.splits import Splits, draw, load_splits
from loren_jax.tasks.task import Task, read_task
from loren_jax.tasks.tokenization import open_tokenizer, tokenize

__all__ = [
    "METRICS", "PROTOCOLS", "TASKS", "Examples", "Prompt", "Protocol", "Rows", "Splits", "Task",
    "Tokens", "answer_ids", "batch_indices", "divide", "draw", "evaluation_batches",
    "load_examples", "load_splits", "open_tokenizer", "read_task", "split", "tokenize",
]  # fmt: skip
