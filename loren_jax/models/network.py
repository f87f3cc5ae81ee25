"""What the library knows of a family of networks, and how its `config.json` is read.

A configuration either describes exactly what the network computes, or it is refused here, before
any weight is read.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, get_args

import jax

from loren_jax.checkpoints import CONFIG
from loren_jax.models.weights import WeightTable

ACTIVATIONS = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_new": functools.partial(jax.nn.gelu, approximate=True),
    "gelu_pytorch_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
}
"""Hugging Face's name -> function; another name is refused, never replaced by something similar."""

HEADS = ("classification", "language_model")

CHOSEN = ("num_labels", "pooling", "head")
"""Fields that the caller decides and not `config.json`."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Base of the families' configurations; the fields carry Hugging Face's names.

    Attributes:
      vocab_size: Rows V of the word embedding.
      pad_token_id: Token that fills short sequences.
      num_labels: Number of classes C.
      pooling: How the hidden states become one vector for the classifier, one of `POOLINGS`.
      head: `classification` or `language_model`.
    """

    vocab_size: int
    pad_token_id: int | None = None
    num_labels: int = 2
    pooling: str
    head: str = "classification"

    if TYPE_CHECKING:  # of all families but GPT-2, which calls them otherwise
        hidden_size: int = field(init=False)
        num_attention_heads: int = field(init=False)
        max_position_embeddings: int = field(init=False)

    POOLINGS: ClassVar[tuple[str, ...]]
    """What `pooling` may be, the family's own first."""

    ACTIVATION: ClassVar[str] = "hidden_act"
    """Name of the field that holds the activation of the MLP."""

    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Field -> the name that the family's `config.json` has for it."""

    FIXED: ClassVar[Mapping[str, Any]] = {}
    """Options of `config.json` of which the network computes one value, the default."""

    FRESH_SCALE: ClassVar[float] = 1.0
    """What the norms' scales are in a model that is trained from scratch."""

    POSITIVE: ClassVar[tuple[str, ...]] = (
        *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_labels"),
    )
    """Names of the fields that must be at least 1, as far as the family has them."""

    MULTIPLES: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs of names: the first field must be a multiple of the second."""

    @property
    def max_length(self) -> int:
        """Longest sequence that the model can read, in tokens."""
        return self.max_position_embeddings

    @property
    def head_size(self) -> int:
        """Width H of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def __post_init__(self) -> None:
        """Refuses options that the network would otherwise misread in silence."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        named = lambda name: f"{self.RENAMED.get(name, name)}={values[name]!r}"
        if values[self.ACTIVATION] not in ACTIVATIONS:
            raise ValueError(
                f"{named(self.ACTIVATION)} is not supported; use one of {sorted(ACTIVATIONS)}"
            )
        for name, allowed in (("pooling", self.POOLINGS), ("head", HEADS)):
            if values[name] not in allowed:
                raise ValueError(f"{named(name)} must be one of {allowed}")
        for name in self.POSITIVE:
            if values.get(name, 1) < 1:
                raise ValueError(f"{named(name)} must be at least 1")
        for name, divisor in self.MULTIPLES:
            if values[name] % values[divisor]:
                raise ValueError(f"{named(name)} must be a multiple of {named(divisor)}")

    @classmethod
    def own_pooling(cls, raw: Mapping[str, Any]) -> str:
        """The pooling of a parsed `config.json` where nobody chose another."""
        return cls.POOLINGS[0]

    @classmethod
    def translate(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parsed file with fields that are more than a value of it."""
        return raw

    @classmethod
    def from_hugging_face(
        cls,
        raw: Mapping[str, Any],
        *,
        num_labels: int = 2,
        pooling: str | None = None,
        head: str = "classification",
    ) -> Any:
        """Reads a parsed `config.json`, save for what the caller decides, as an instance of this.

        The pooling is by default the family's. A size that is missing or no number, and a variant
        that the network does not compute (relative positions, cross attention, another activation)
        are a ValueError.
        """
        for name, only in cls.FIXED.items():
            if raw.get(name, only) not in (only, None):
                raise ValueError(
                    f"{name}={raw[name]!r} is not supported; use a checkpoint with {name}={only!r}"
                )
        own, raw = cls.own_pooling(raw), cls.translate(raw)
        named = {f: cls.RENAMED.get(f.name, f.name) for f in fields(cls) if f.name not in CHOSEN}
        missing = [name for f, name in named.items() if f.default is MISSING and name not in raw]
        if missing:
            raise ValueError(
                f"the configuration lacks {missing}; is it the config.json of a "
                f"{cls.__name__.removesuffix('Config')} model?"
            )
        check_kinds(raw, {name: option.type for option, name in named.items()})
        values = {f.name: raw[name] for f, name in named.items() if name in raw}
        values |= {"num_labels": num_labels, "pooling": pooling or own, "head": head}
        return cls(**values)


def check_kinds(raw: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuses entries that are not of their field's type, unless that is a type of our own."""
    for name, kind in wanted.items():
        kinds = get_args(kind) or (kind,)
        if not set(kinds) <= {bool, int, float, str, type(None)}:
            continue
        kinds = (*kinds, int) if float in kinds else kinds
        if name in raw and not isinstance(raw[name], kinds):
            told = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
            raise ValueError(f"{CONFIG}: {name}={raw[name]!r} must be of type {told}")


def period(raw: Mapping[str, Any], name: str, otherwise: int) -> int:
    """An entry of a parsed `config.json` that says every how many layers something is so."""
    check_kinds(raw, {name: int})
    every = raw.get(name, otherwise)
    if every < 1:
        raise ValueError(f"{CONFIG}: {name}={every} must be at least 1")
    return every


@dataclass(frozen=True)
class Export:
    """How stock transformers is told about an exported model: the class that computes the same.

    Attributes:
      architecture: Name of the torch class.
      source: Data file beside this module that holds the class, if transformers does not.
      settings: Entries of `config.json` without which the class would compute something else.
    """

    architecture: str
    source: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """Name of the Python module that `source` is written as.

        >>> Export("A", "mean_pooled_bert.py.txt").module
        'mean_pooled_bert'
        """
        return (self.source or "").removesuffix(".py.txt")


class Family(NamedTuple):
    """What the library knows of one `model_type`.

    Every network has `__call__` and `encode` of (input_ids, attention_mask, token_type_ids),
    and `choices`, which takes token ids besides.

    Attributes:
      config: The configuration's class, a `NetworkConfig`.
      network: Module class, called as `network(config, rngs=...)`.
      weight_table: Configuration -> weight table.
      export: Configuration -> the torch class that computes the same.
    """

    config: type[NetworkConfig]
    network: type
    weight_table: Callable[[Any], WeightTable]
    export: Callable[[Any], Export]
