"""A causal language model's directory: what it was trained with, for all who read it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jax.typing import DTypeLike

from loren_jax.checkpoints import checkpoint_config
from loren_jax.models import LanguageModel, export_language_model, load_language_model
from loren_jax.models.decoder import Decoder
from loren_jax.models.families import family_described, prediction_function
from loren_jax.models.low_bit import Storage
from loren_jax.models.network import NetworkConfig
from loren_jax.models.weights import ShardingOf
from loren_jax.objectives.text_config import TextConfig
from loren_jax.reports.files import read_json, write_json
from loren_jax.tasks import open_tokenizer
from loren_jax.tasks.buckets import Buckets, bucket_shapes
from loren_jax.tasks.chat import Template, stop_tokens
from loren_jax.tasks.conversations import Texts
from loren_jax.tasks.spans import Long, SpannedRows, SpanReader
from loren_jax.tasks.tokenization import require_vocabulary

TEXT = "text.json"
DEFAULT_MAX_LENGTH = 512


class TextOrigin(NamedTuple):
    """What a model was made from, which its directory must tell too.

    The longest row is in tokens; the template is None where there were only plain documents.
    """

    source: Path
    config: NetworkConfig
    template: str | None
    loss_on: str
    max_length: int


def save_text_model(
    directory: Path, origin: TextOrigin, params: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Writes a language model, and beside it how its texts were written."""
    source, config, *told = origin
    export_language_model(directory, source, config, params, overwrite=overwrite)
    write_json(directory / TEXT, dict(zip(origin._fields[2:], told, strict=True)))


def read_text_settings(directory: Path) -> dict[str, Any] | None:
    """What `save_text_model` wrote beside a model; None for a model of another objective."""
    path = directory / TEXT
    if not path.is_file():
        return None
    found = read_json(path)
    if not isinstance(found, dict) or {"template", "loss_on", "max_length"} - set(found):
        raise ValueError(f"{path} is damaged; export the model again")
    return found


def causal_model(
    source: Path,
    *,
    dtype: DTypeLike = "float32",
    sharding: ShardingOf | None = None,
    storage: Storage | None = None,
) -> LanguageModel:
    """A causal language model whose `apply` predicts the tokens behind a few places.

    `sharding` says `(path, shape) -> NamedSharding` of its parameters; None for one device;
    `storage` which of its matrices stay in few bits. A ValueError if it is an encoder, or anything
    else that does not predict the next token.
    """
    family = family_described(checkpoint_config(source))
    if not issubclass(family.network, Decoder):
        raise ValueError(
            f"model: {source.name} is an encoder ({family.network.__name__}), which does not "
            "predict the next token; take a causal language model, such as SmolLM2, Llama or GPT-2"
        )
    model = load_language_model(source, dtype=dtype, sharding=sharding, storage=storage)
    return model._replace(apply=prediction_function(model.config))


class TextReader:
    """A model's tokenizer, opened once; it turns texts into rows of tokens."""

    def __init__(
        self,
        source: Path,
        *,
        template: Template | None = None,
        loss_on: Literal["completion", "all"] = "completion",
        long: Long = "cut",
        packed: bool = False,
    ):
        self.tokenizer = open_tokenizer(source)
        self._reader = SpanReader(
            self.tokenizer, template=template, loss_on=loss_on, long=long, packed=packed
        )
        self._endings = set(stop_tokens(source, self.tokenizer))

    @classmethod
    def of(cls, source: Path, config: TextConfig) -> "TextReader":
        """As a configuration asks for it."""
        names = ("template", "loss_on", "long", "packed")
        return cls(source, **{name: getattr(config, name) for name in names})

    @property
    def template(self) -> str | None:
        """The template that dialogues were written by; None before there were any."""
        return self._reader.template

    def rows(self, texts: Texts, max_length: int, config: NetworkConfig) -> SpannedRows:
        """The texts as rows; a ValueError if a token is none of the model's vocabulary."""
        found = self._reader.read(texts, max_length)
        largest = max(int(row.input_ids.max()) for row in found.rows)
        require_vocabulary(self.tokenizer, largest, config.vocab_size)
        last = [int(row.input_ids[row.counted][-1]) for row in found.rows]
        self._endings |= set(last) & set(self.tokenizer.all_special_ids)
        return found

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        """Behind which an answer ends: the model's own, and what ended those that were read."""
        return tuple(sorted(self._endings))

    def decode(self, tokens: Sequence[int]) -> str:
        """What tokens say, without the special ones."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True).strip()

    def prompt_tokens(self, texts: Texts, max_length: int) -> list[list[int]]:
        """The tokens of each dialogue up to its last answer."""
        found = self._reader.prompt_tokens(texts, max_length)
        behind = self.tokenizer(self._reader.ending, add_special_tokens=False)["input_ids"]
        self._endings |= set(behind) & set(self.tokenizer.all_special_ids)
        return found


def bucket_rows(
    sources: Sequence[SpannedRows], buckets: int, config: NetworkConfig
) -> list[Buckets]:
    """Several sources in the shapes that they have in common."""
    shapes = bucket_shapes([row for s in sources for row in s.rows], buckets, config.max_length)
    return [Buckets(source.rows, shapes) for source in sources]
