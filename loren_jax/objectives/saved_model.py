"""A model's directory: its tokenizer, its prompt, and what a run keeps for all who read it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jax.typing import DTypeLike

from loren_jax.checkpoints import open_checkpoint
from loren_jax.checkpoints.gguf import GGUFFile
from loren_jax.checkpoints.opening import locate_weights
from loren_jax.models import (
    Classifier,
    export_classifier,
    export_language_model,
    load_classifier,
    load_prompted,
)
from loren_jax.models.adapter_export import NoPlaceError, export_adapter
from loren_jax.models.gguf_export import export_gguf
from loren_jax.models.low_bit import Storage
from loren_jax.models.network import NetworkConfig
from loren_jax.objectives.adapters import TrainableModel, storage_of
from loren_jax.objectives.config import ClassificationConfig
from loren_jax.objectives.shared_config import ObjectiveConfig
from loren_jax.reports.files import JOURNAL, MODEL, read_json, write_json
from loren_jax.tasks import Examples, Prompt, Tokens, answer_ids, open_tokenizer, tokenize
from loren_jax.tasks.prompts import prompt_from_json, prompt_json
from loren_jax.tasks.tokenization import require_vocabulary
from loren_jax.types import PyTree


class Reader:
    """A model's tokenizer, opened once; it turns texts into tokens, in a prompt if there is one."""

    def __init__(self, source: Path, prompt: Prompt | None):
        self._source, self._prompt = source, prompt
        self._tokenizer = open_tokenizer(source)

    def tokens(self, examples: Examples, max_length: int, config: NetworkConfig) -> Tokens:
        """The examples as token arrays, whose length is not rounded up beyond the positions.

        A ValueError if a token is none of the model's vocabulary.
        """
        tokens = tokenize(
            self._tokenizer,
            examples,
            max_length,
            prompt=self._prompt,
            positions=config.max_length,
        )
        require_vocabulary(self._tokenizer, int(tokens.input_ids.max()), config.vocab_size)
        return tokens

    def prompted_model(
        self,
        label_names: tuple[str, ...],
        *,
        dtype: DTypeLike = "float32",
        sharding: Any = None,
        storage: Storage | None = None,
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
        options = {"dtype": dtype, "sharding": sharding, "storage": storage}
        model = load_prompted(self._source, ids, label_names=label_names, **options)
        answering = getattr(model.config, "mask_token_id", None)
        if answering != self._tokenizer.mask_token_id:
            raise ValueError(
                f"model: it answers at token {answering}, but its tokenizer's mask token is "
                f"{self._tokenizer.mask_token_id}; the tokenizer is another model's"
            )
        return model


PROMPT = "prompt.json"


class Origin(NamedTuple):
    """What a model was made from, which its directory must tell too.

    The classes are in the order of its answers; a model with a head has no prompt. The longest
    input is in tokens.
    """

    source: Path
    config: Any
    label_names: tuple[str, ...]
    prompt: Prompt | None
    max_length: int


def save_model(
    directory: Path, origin: Origin, params: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Writes a model; a prompted one as a language model, with its prompt beside it."""
    source, config, names, prompt, max_length = origin
    if prompt is None:
        export_classifier(directory, source, config, params, names, overwrite=overwrite)
        return
    export_language_model(directory, source, config, params, overwrite=overwrite)
    write_json(directory / PROMPT, prompt_json(prompt, label_names=names, max_length=max_length))


class ModelObjective:
    """What all objectives of a model share: what is trained of it, and how that is written.

    Args:
      config: What is asked.
      trainable: The model as it is trained.
      source: Where it was read from.
      network: Its configuration.
    """

    def __init__(
        self,
        config: ObjectiveConfig,
        trainable: TrainableModel,
        source: Path,
        network: NetworkConfig,
    ):
        self.trainable = trainable
        self.params, self.frozen = trainable.params, trainable.frozen
        self.trained_paths = trainable.trained_paths
        self._base = config, source, network

    def merge(self, params: PyTree) -> PyTree:
        """The parameters of the whole model, adapters merged."""
        return self.trainable.merge(params)

    def save_adapter(self, directory: Path, trained: PyTree, params: PyTree) -> None:
        """Writes what was trained as PEFT has it, where adapters were; `params` are the merged."""
        config, source, network = self._base
        if config.lora_rank is not None:
            _save_adapter(directory, config, source, network, trained, params)

    def save_packed(self, path: Path, params: PyTree) -> None:
        """Writes the GGUF that the model came from with what was trained of it, if it is one."""
        config, source, network = self._base
        if config.quantise != "file" or config.lora_rank is not None:
            return
        weights = locate_weights(source)
        if weights.reader is not GGUFFile:
            return
        try:
            export_gguf(path, weights.path, network, params)
        except ValueError as error:
            print(f"{path} is not written: {error}", file=sys.stderr)


def _save_adapter(
    directory: Path,
    config: ObjectiveConfig,
    source: Path,
    network: NetworkConfig,
    adapters: Mapping[str, Any],
    params: Mapping[str, Any],
) -> None:
    """Writes adapters as PEFT reads them; where it cannot, this is said and nothing is written.

    The source is of the base model, which is such a network.
    """
    assert config.lora_rank is not None
    try:
        export_adapter(
            directory,
            network,
            adapters,
            params,
            base=open_checkpoint(source),
            base_name=model_directory(config.model),
            rank=config.lora_rank,
            alpha=float(config.lora_alpha or config.lora_rank),
            overwrite=True,
        )
    except NoPlaceError as error:
        print(
            f"{directory} is not written: PEFT has no place for {error}; the model has it merged",
            file=sys.stderr,
        )


def model_directory(model: str) -> str:
    """The model of a run, where a run's directory is named; else what was named."""
    inside = Path(model) / MODEL
    return str(inside) if (Path(model) / JOURNAL).is_file() and inside.is_dir() else model


def model_of(
    config: ClassificationConfig,
    source: Path,
    reader: Reader,
    label_names: tuple[str, ...],
    sharding: Any = None,
) -> Classifier:
    """The classifier that a training begins with, with a new head if it has none for these classes.

    `sharding` says `(path, shape) -> NamedSharding` of its parameters; None for one device.
    """
    options = {"dtype": config.dtype, "sharding": sharding, "storage": storage_of(config)}
    if config.prompt:
        return reader.prompted_model(label_names, **options)
    return load_classifier(
        source,
        num_labels=len(label_names),
        pooling=config.pooling,
        key=config.seed,
        **options,
    )


def read_prompt(directory: Path) -> tuple[Prompt, tuple[str, ...], int] | None:
    """The prompt that a model was trained with, the classes in the order of its answers, the limit.

    The limit is of the input, in tokens. None for a model with a head.
    """
    path = directory / PROMPT
    if not path.is_file():
        return None
    try:
        values = read_json(path)
        return prompt_from_json(values), tuple(values["label_names"]), int(values["max_length"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}; export the model again") from error
