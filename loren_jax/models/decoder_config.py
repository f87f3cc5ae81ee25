"""What the configurations of all decoders share.

A configuration either describes exactly what the network computes, or it is refused here, before
any weight is read.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

from loren_jax.models.activations import ACTIVATIONS
from loren_jax.models.encoder_config import HEADS

POOLINGS = ("last",)


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Fields of every decoder; they carry Hugging Face's names.

    Attributes:
        vocab_size: Rows of the word embedding.
        tie_word_embeddings: Whether the output layer of the language model is the word embedding.
        pad_token_id: Token that fills short sequences. A classifier reads the last token that is
            another one; if this is None, the last unmasked one.
        num_labels: Number of classes C.
        pooling: ``last``, the only one: the last token is the one that has read all others.
        head: ``classification`` or ``language_model``.
    """

    vocab_size: int
    tie_word_embeddings: bool = True
    pad_token_id: int | None = None
    num_labels: int = 2
    pooling: str = "last"
    head: str = "classification"

    CHOSEN: ClassVar[tuple[str, ...]] = ("num_labels", "pooling", "head")
    """Fields that the caller decides and not ``config.json``."""

    FIXED: ClassVar[Mapping[str, Any]] = {}
    """Options of ``config.json`` that the network knows in one way only."""

    ACTIVATION: ClassVar[str]
    """Name of the field that holds the activation of the MLP."""

    POSITIVE: ClassVar[tuple[str, ...]] = ("vocab_size", "num_labels")
    """Names of the fields that must be at least 1."""

    MULTIPLES: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs of names: the first field must be a multiple of the second."""

    def __post_init__(self) -> None:
        """Refuses options that the network would otherwise misread in silence."""
        values = vars(self)
        for name, allowed in (
            (self.ACTIVATION, ACTIVATIONS),
            ("pooling", POOLINGS),
            ("head", HEADS),
        ):
            if values[name] not in allowed:
                raise ValueError(
                    f"{name}={values[name]!r} is not supported; use one of {sorted(allowed)}"
                )
        for name in self.POSITIVE:
            if values[name] < 1:
                raise ValueError(f"{name}={values[name]} must be at least 1")
        for name, divisor in self.MULTIPLES:
            if values[name] % values[divisor]:
                raise ValueError(
                    f"{name}={values[name]} must be a multiple of {divisor}={values[divisor]}"
                )

    @property
    def max_length(self) -> int:
        """Longest sequence that the model can read."""
        raise NotImplementedError

    @classmethod
    def from_hugging_face(
        cls,
        raw: Mapping[str, Any],
        *,
        num_labels: int = 2,
        pooling: str | None = None,
        head: str = "classification",
    ) -> "DecoderConfig":
        """Reads a parsed ``config.json``.

        Args:
            raw: The parsed file.
            num_labels: Number of classes of a classification head.
            pooling: ``last``, which is also the default.
            head: ``classification`` or ``language_model``.

        Returns:
            The configuration.

        Raises:
            ValueError: If a size is missing, or the file asks for a variant that the network does
                not compute.
        """
        for name, only in cls.FIXED.items():
            if raw.get(name, only) not in (only, None):
                raise ValueError(
                    f"{name}={raw[name]!r} is not supported; use a checkpoint with {name}={only!r}"
                )
        decided = [field for field in fields(cls) if field.name not in cls.CHOSEN]
        missing = [f.name for f in decided if f.default is MISSING and f.name not in raw]
        if missing:
            raise ValueError(
                f"the configuration lacks {missing}; is it the config.json of a "
                f"{cls.__name__.removesuffix('Config')} model?"
            )
        known = {field.name: raw[field.name] for field in decided if field.name in raw}
        return cls(**known, num_labels=num_labels, pooling=pooling or "last", head=head)
