"""What the configurations of all families share: how ``config.json`` is read, and what is refused.

A configuration either describes exactly what the network computes, or it is refused here, before
any weight is read.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from loren_jax.models.activations import ACTIVATIONS

HEADS = ("classification", "language_model")

CHOSEN = ("num_labels", "pooling", "head")
"""Fields that the caller decides and not ``config.json``."""


@dataclass(frozen=True)
class NetworkConfig(ABC):
    """Base of the families' configurations, which are frozen dataclasses.

    Among their fields are ``vocab_size``, ``pad_token_id``, ``num_labels``, ``pooling``, ``head``.
    """

    if TYPE_CHECKING:  # fields of each family, in its own order and with its own defaults

        @property
        def vocab_size(self) -> int: ...  # noqa: D102

        @property
        def num_labels(self) -> int: ...  # noqa: D102

        @property
        def pooling(self) -> str: ...  # noqa: D102

        @property
        def head(self) -> str: ...  # noqa: D102

    POOLINGS: ClassVar[tuple[str, ...]]
    """What ``pooling`` may be, the family's own first."""

    ACTIVATION: ClassVar[str]
    """Name of the field that holds the activation of the MLP."""

    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Field -> the name that the family's ``config.json`` has for it."""

    FIXED: ClassVar[Mapping[str, Any]] = {}
    """Options of ``config.json`` of which the network computes one value, the default."""

    POSITIVE: ClassVar[tuple[str, ...]] = ("vocab_size", "num_labels")
    """Names of the fields that must be at least 1."""

    MULTIPLES: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs of names: the first field must be a multiple of the second."""

    @property
    @abstractmethod
    def max_length(self) -> int:
        """Longest sequence that the model can read, in tokens."""

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
            if values[name] < 1:
                raise ValueError(f"{named(name)} must be at least 1")
        for name, divisor in self.MULTIPLES:
            if values[name] % values[divisor]:
                raise ValueError(f"{named(name)} must be a multiple of {named(divisor)}")

    @classmethod
    def translated(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
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
        """Reads a parsed ``config.json``.

        Args:
            raw: The parsed file.
            num_labels: Number of classes of a classification head.
            pooling: How a classifier pools; by default as the family does.
            head: ``classification`` or ``language_model``.

        Returns:
            The configuration, of the class that this is called on.

        Raises:
            ValueError: If a size is missing, or the file asks for a variant (relative positions,
                cross attention, another activation) that the network does not compute.
        """
        for name, only in cls.FIXED.items():
            if raw.get(name, only) not in (only, None):
                raise ValueError(
                    f"{name}={raw[name]!r} is not supported; use a checkpoint with {name}={only!r}"
                )
        raw = cls.translated(raw)
        named = {f: cls.RENAMED.get(f.name, f.name) for f in fields(cls) if f.name not in CHOSEN}
        missing = [name for f, name in named.items() if f.default is MISSING and name not in raw]
        if missing:
            raise ValueError(
                f"the configuration lacks {missing}; is it the config.json of a "
                f"{cls.__name__.removesuffix('Config')} model?"
            )
        values = {f.name: raw[name] for f, name in named.items() if name in raw}
        values |= {"num_labels": num_labels, "pooling": pooling or cls.POOLINGS[0], "head": head}
        return cls(**values)
