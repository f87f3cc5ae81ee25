"""The configuration of a BERT classifier, read from Hugging Face's ``config.json``.

A configuration either describes exactly what the network in ``bert.py`` computes, or it is refused
here, before any weight is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loren_jax.models.activations import ACTIVATIONS

POOLINGS = ("cls", "mean")


@dataclass(frozen=True)
class BertConfig:
    """Shape and options of a BERT classifier; the fields carry Hugging Face's names.

    Attributes:
        vocab_size: Rows of the word embedding.
        hidden_size: Width D of the residual stream.
        num_hidden_layers: Number of encoder layers.
        num_attention_heads: Heads per layer; must divide ``hidden_size``.
        intermediate_size: Width of the hidden layer of the MLP.
        max_position_embeddings: Longest sequence that the model can read.
        type_vocab_size: Number of segment kinds.
        layer_norm_eps: Added to the variance in every layer norm.
        hidden_act: Activation of the MLP, a key of ``ACTIVATIONS``.
        pad_token_id: Token that fills short sequences; the network itself looks at the mask only.
        num_labels: Number of classes C.
        pooling: ``cls`` is BERT's own pooler (dense and tanh on the first token), ``mean`` the
            average of the unmasked last hidden states.

    Example:
        >>> config = BertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=2,
        ...     num_attention_heads=2, intermediate_size=8)
        >>> config.head_size
        2
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    pad_token_id: int | None = 0
    num_labels: int = 2
    pooling: str = "cls"

    def __post_init__(self) -> None:
        """Refuses options that the network would otherwise misread in silence."""
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(
                f"hidden_act={self.hidden_act!r} is not supported; use one of {sorted(ACTIVATIONS)}"
            )
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling={self.pooling!r} must be one of {POOLINGS}")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} must be a multiple of "
                f"num_attention_heads={self.num_attention_heads}"
            )
        if min(self.num_hidden_layers, self.num_labels) < 1:
            raise ValueError(
                f"num_hidden_layers={self.num_hidden_layers} and num_labels={self.num_labels} "
                "must both be at least 1"
            )

    @property
    def head_size(self) -> int:
        """Width H of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @classmethod
    def from_hugging_face(
        cls, raw: Mapping[str, Any], *, num_labels: int, pooling: str = "cls"
    ) -> "BertConfig":
        """Reads a parsed ``config.json``.

        Args:
            raw: The parsed file.
            num_labels: Number of classes of the head.
            pooling: ``cls`` or ``mean``.

        Returns:
            The configuration.

        Raises:
            ValueError: If a size is missing, or the file asks for a variant of BERT (relative
                positions, a decoder, another activation) that the network does not compute.

        Example:
            >>> BertConfig.from_hugging_face({"position_embedding_type": "relative_key"},
            ...     num_labels=2)
            Traceback (most recent call last):
            ...
            ValueError: position_embedding_type='relative_key' is not supported; use a checkpoint
            with absolute positions
        """
        positions = raw.get("position_embedding_type") or "absolute"
        if positions != "absolute":
            raise ValueError(
                f"position_embedding_type={positions!r} is not supported; "
                "use a checkpoint with absolute positions"
            )
        if raw.get("is_decoder") or raw.get("add_cross_attention"):
            raise ValueError("is_decoder/add_cross_attention: only BERT encoders are supported")
        names = set(cls.__dataclass_fields__) - {"num_labels", "pooling"}
        fields = {name: raw[name] for name in names if name in raw}
        sizes = ["vocab_size", "hidden_size", "num_hidden_layers"]
        sizes += ["num_attention_heads", "intermediate_size"]
        if missing := [name for name in sizes if name not in fields]:
            raise ValueError(f"the configuration lacks {missing}; is it a BERT config.json?")
        return cls(**fields, num_labels=num_labels, pooling=pooling)
