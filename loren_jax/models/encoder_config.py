"""What the configurations of BERT and its kin have in common.

A configuration either describes exactly what the network computes, or it is refused here, before
any weight is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from loren_jax.models.activations import ACTIVATIONS

HEADS = ("classification", "language_model")


@dataclass(frozen=True)
class EncoderConfig:
    """Shape and options of an encoder; the fields carry the names that BERT gave them.

    Attributes:
        vocab_size: Rows V of the word embedding.
        hidden_size: Width D of the residual stream.
        num_hidden_layers: Number of encoder layers.
        num_attention_heads: Heads per layer; must divide ``hidden_size``.
        intermediate_size: Width of the hidden layer of the MLP.
        max_position_embeddings: Rows of the position embedding.
        layer_norm_eps: Added to the variance in every layer norm.
        hidden_act: Activation of the MLP, a key of ``ACTIVATIONS``.
        pad_token_id: Token that fills short sequences.
        mask_token_id: Token that a masked language model answers at.
        num_labels: Number of classes C.
        pooling: How the hidden states become one vector for the classifier.
        head: ``classification`` or ``language_model``.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 512
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    pad_token_id: int | None = 0
    mask_token_id: int | None = None
    num_labels: int = 2
    pooling: str = "cls"
    head: str = "classification"

    POOLINGS: ClassVar[tuple[str, ...]] = ("cls",)
    """What ``pooling`` may be, the family's own first."""

    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Field -> the name that the family's ``config.json`` has for it."""

    FIXED: ClassVar[Mapping[str, Any]] = {
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
    }
    """Options of ``config.json`` of which the network computes one value, the default."""

    def __post_init__(self) -> None:
        """Refuses options that the network would otherwise misread in silence."""
        named = lambda name: f"{self.RENAMED.get(name, name)}={getattr(self, name)!r}"
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(
                f"{named('hidden_act')} is not supported; use one of {sorted(ACTIVATIONS)}"
            )
        if self.pooling not in self.POOLINGS:
            raise ValueError(f"{named('pooling')} must be one of {self.POOLINGS}")
        if self.head not in HEADS:
            raise ValueError(f"{named('head')} must be one of {HEADS}")
        for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{named(name)} must be at least 1")
        if self.num_labels < 1:
            raise ValueError(f"{named('num_labels')} must be at least 1")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"{named('hidden_size')} must be a multiple of {named('num_attention_heads')}"
            )

    @property
    def head_size(self) -> int:
        """Width H of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def max_length(self) -> int:
        """Longest sequence that the model has positions for."""
        return self.max_position_embeddings

    @classmethod
    def from_hugging_face(
        cls,
        raw: Mapping[str, Any],
        *,
        num_labels: int = 2,
        pooling: str | None = None,
        head: str = "classification",
    ) -> "EncoderConfig":
        """Reads a parsed ``config.json``.

        Args:
            raw: The parsed file.
            num_labels: Number of classes of the head.
            pooling: How a classifier pools; by default as the family does.
            head: ``classification`` or ``language_model``.

        Returns:
            The configuration.

        Raises:
            ValueError: If a size is missing, or the file asks for a variant (relative positions, a
                decoder, another activation) that the network does not compute.
        """
        for name, only in cls.FIXED.items():
            value = only if raw.get(name) is None else raw[name]
            if value != only:
                raise ValueError(
                    f"{name}={value!r} is not supported; use a checkpoint with {name}={only!r}"
                )
        chosen = {"num_labels": num_labels, "pooling": pooling or cls.POOLINGS[0], "head": head}
        names = {name: cls.RENAMED.get(name, name) for name in cls.__dataclass_fields__}
        read = {f: raw[name] for f, name in names.items() if f not in chosen and name in raw}
        sizes = ["vocab_size", "hidden_size", "num_hidden_layers"]
        sizes += ["num_attention_heads", "intermediate_size"]
        if missing := [names[size] for size in sizes if size not in read]:
            family = cls.__name__.removesuffix("Config")
            raise ValueError(
                f"the configuration lacks {missing}; is it the config.json of a {family}?"
            )
        return cls(**read, **chosen)
