"""How stock transformers is told about an exported model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Export:
    """The torch class that computes the same as a network of ours.

    Attributes:
        architecture: Name of the class.
        source: Data file beside this module that holds the class, if transformers does not.
        settings: Entries of ``config.json`` without which the class would compute something else.
    """

    architecture: str
    source: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """Name of the Python module that ``source`` is written as.

        Example:
            >>> Export("A", "mean_pooled_bert.py.txt").module
            'mean_pooled_bert'
        """
        return (self.source or "").removesuffix(".py.txt")
