"""A model's tokenizer, opened once for all its texts."""

from pathlib import Path
from typing import Any

from jax.typing import DTypeLike

from loren_jax.models import Classifier, load_prompted
from loren_jax.tasks import (
    Examples,
    Prompt,
    Tokens,
    answer_ids,
    open_tokenizer,
    tokenize,
)


class Reader:
    """A model's tokenizer, opened once; it turns texts into tokens, in a prompt if there is one."""

    def __init__(self, source: Path, prompt: Prompt | None):
        self._source, self._prompt = source, prompt
        self._tokenizer = open_tokenizer(source)

    def tokens(self, examples: Examples, max_length: int, positions: int | None) -> Tokens:
        """The examples as token arrays, whose length is not rounded up beyond the positions."""
        return tokenize(
            self._tokenizer, examples, max_length, prompt=self._prompt, positions=positions
        )

    def prompted_model(
        self, label_names: tuple[str, ...], *, dtype: DTypeLike = "float32", sharding: Any = None
    ) -> Classifier:
        """A classifier whose logits are those of the answers, in the order of the classes.

        A ValueError if the answers do not fit the classes or the tokenizer, or it the model.
        """
        assert self._prompt is not None
        words = self._prompt.words
        if len(words) != len(label_names):
            raise ValueError(
                f"words: there are {len(words)} answers for {len(label_names)} classes "
                f"({', '.join(label_names)})"
            )
        ids = answer_ids(self._tokenizer, self._prompt)
        model = load_prompted(
            self._source, ids, label_names=label_names, dtype=dtype, sharding=sharding
        )
        answering = getattr(model.config, "mask_token_id", None)
        if answering != self._tokenizer.mask_token_id:
            raise ValueError(
                f"model: it answers at token {answering}, but its tokenizer's mask token is "
                f"{self._tokenizer.mask_token_id}; the tokenizer is another model's"
            )
        return model
