"""The answers of a fine-tuned model to texts without labels, written as a table."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from loren_jax.models import Classifier
from loren_jax.objectives.saved_model import Reader
from loren_jax.tasks import Examples, evaluation_batches
from loren_jax.tasks.columns import choose_text_columns, read_texts
from loren_jax.tasks.sources import local_splits, read_source
from loren_jax.tasks.tables import Table
from loren_jax.train.answers import Answered, AnswerOptions, answer_all, read_prompts
from loren_jax.train.chats import Talker, speaks
from loren_jax.train.config import PredictConfig
from loren_jax.train.evaluation import max_length_of, open_model
from loren_jax.whole_file import whole_file

FORMATS = (".csv", ".jsonl")


class Predictions(NamedTuple):
    """What a model answers.

    Attributes:
      table: The rows of the data.
      label_names: The classes.
      probabilities: Of each class for each row, summing to 1.
    """

    table: Table
    label_names: tuple[str, ...]
    probabilities: Float32[np.ndarray, "rows classes"]

    def rows(self) -> list[dict[str, Any]]:
        """The data's own columns, `predicted`, and a `probability_` of each class."""
        answers = self.probabilities.argmax(axis=1)
        found = []
        for row, answer, values in zip(
            self.table.rows.values(), answers, self.probabilities, strict=True
        ):
            named = zip(self.label_names, values.tolist(), strict=True)
            found.append(
                {
                    **{name: row.get(name) for name in self.table.columns},
                    "predicted": self.label_names[answer],
                    **{f"probability_{name}": round(value, 6) for name, value in named},
                }
            )
        return found


def predict(config: PredictConfig) -> Predictions | Answered:
    """Answers every row of a file; a model that was trained with a prompt gets it here too.

    A causal language model answers with texts, as `loren-jax generate` does.

    Args:
      config: Which model, on what.

    Returns:
      The answers, whose `rows()` puts them beside the data's own columns.

    Raises:
      ValueError: If the data or the checkpoint is malformed; the message names file and line.
      OSError: If a file is absent.
    """
    require_output(config.output, config.data)
    there = local_splits(config.data)
    if there is None:
        raise FileNotFoundError(f"there is no file {config.data}; predict reads a file of texts")
    if there != ("train",):
        raise ValueError(f"data: {config.data} has {', '.join(there)}; give one of its files")
    if speaks(config.model):
        asked = read_prompts(config.data, config.columns, config.text_columns)
        options = AnswerOptions(max_new_tokens=config.max_new_tokens)
        return answer_all(Talker(config.model), asked, options, config.batch_size)
    model, reader, prompt = open_model(config.model)
    table = read_source(config.data, "train", config.columns)
    asked = config.text_columns if prompt is None else prompt.fields
    texts = read_texts(table, choose_text_columns(table, asked))
    # Any label will do: nothing is compared with it.
    examples = Examples(texts, np.zeros(len(texts), np.int32), model.label_names)
    limit = max_length_of(config.model, config.max_length, model)
    return Predictions(
        table, model.label_names, _probabilities(model, reader, examples, limit, config.batch_size)
    )


def require_output(output: Path | None, data: str | None) -> None:
    """Raises a ValueError unless a file's name says how to write it, and it is not the data."""
    if output is None:
        return
    if output.suffix not in FORMATS:
        raise ValueError(
            f"output: {output} ends in none of {', '.join(FORMATS)}, which say the format"
        )
    if data is not None and output.resolve() == Path(data).resolve():
        raise ValueError(f"output: {output} is the data, which answers would replace: name another")


def write_rows(rows: list[dict[str, Any]], output: Path | None, shown: str = ".csv") -> None:
    """Writes answers, all or nothing, to a `.csv` or `.jsonl` file; else as `shown` to stdout."""
    if (shown if output is None else output.suffix) == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text = buffer.getvalue()
    if output is None:
        sys.stdout.write(text)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(output) as file:
        file.write(text)


def _probabilities(
    model: Classifier, reader: Reader, examples: Examples, limit: int, batch_size: int
) -> Float32[np.ndarray, "rows classes"]:
    tokens = reader.tokens(examples, limit, model.config)
    answer = jax.jit(
        lambda params, tokens: jax.nn.softmax(
            model.apply(params, *tokens[:3]).astype(jnp.float32), axis=-1
        )
    )
    number, parts = len(examples), []
    silent = sys.stderr is None or not sys.stderr.isatty()
    with tqdm(total=number, desc="predicting", leave=False, disable=silent) as bar:
        for rows, weights in evaluation_batches(tokens, min(batch_size, number)):
            parts.append(np.asarray(answer(model.params, rows))[weights > 0])
            bar.update(len(parts[-1]))
    return np.concatenate(parts)
