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
    """Opens a model's tokenizer once and turns texts into its tokens.

    Args:
        source: Where the model lies.
        prompt: What surrounds the texts, if anything does.
    """

    def __init__(self, source: Path, prompt: Prompt | None):
        self._source, self._prompt = source, prompt
        self._tokenizer = open_tokenizer(source)

    def tokens(self, examples: Examples, max_length: int, positions: int | None) -> Tokens:
        """The examples as token arrays.

        Args:
            examples: The examples.
            max_length: Longest input in tokens.
            positions: What a length must not be rounded up beyond; None for no bound.

        Returns:
            The token arrays.
        """
        return tokenize(
            self._tokenizer, examples, max_length, prompt=self._prompt, positions=positions
        )

    def prompted_model(
        self, label_names: tuple[str, ...], *, dtype: DTypeLike = "float32", sharding: Any = None
    ) -> Classifier:
        """The model as one that answers the prompt.

        Args:
            label_names: The classes, in the order of the answers.
            dtype: Element type of the parameters.
            sharding: Where the parameters lie; None for one device.

        Returns:
            A classifier whose logits are those of the answers.

        Raises:
            ValueError: If the answers do not fit the classes or the tokenizer, or the tokenizer
                the model.
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
