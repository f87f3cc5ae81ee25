"""ModernBERT: configuration, layer, network and weight table.

It normalises before each block and after the last, save before the attention of the first layer,
which is no part of the stack for that reason. Heads turn; most layers read a window on either side.

Shape suffixes: B batch, T tokens, D hidden size, C labels, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from loren_jax.models.attention import attend
from loren_jax.models.encoder import EncoderConfig, MaskedNetwork, encoder_export
from loren_jax.models.layer_kinds import (
    FULL,
    SLIDING,
    LayerKind,
    check_layer_types,
    layer_types,
    views_of,
)
from loren_jax.models.layers import (
    Embedding,
    Mask,
    Tokens,
    check_length,
    layer_norm,
    linear,
    mean_of,
    padding_mask,
    scan_layers,
    stack_layers,
    token_at,
)
from loren_jax.models.network import ACTIVATIONS, Export, Family, period
from loren_jax.models.rotary import PLAIN, Angles, Rotary, rotate
from loren_jax.models.weights import WeightRow, WeightTable


@dataclass(frozen=True, kw_only=True)
class ModernBertConfig(EncoderConfig):
    """Shape and options of a ModernBERT; the fields carry BERT's names and Hugging Face's.

    Those of `EncoderConfig`, of which `layer_norm_eps` is called `norm_eps` and
    `hidden_act` `hidden_activation`, and `pooling` is `cls` for the first token or `mean`
    for the average of the unmasked ones; and:

    Attributes:
      local_attention: Tokens that a layer with a window reads, half of them on either side.
      layer_types: Type of every layer, `full_attention` or `sliding_attention`; None where
        all read all.
      rotary: How the heads turn in the layers that read all.
      local_rotary: How they turn in those that read a window.
      norm_bias: Whether the norms have biases.
      attention_bias: Whether the dense layers of the attention have.
      mlp_bias: Whether those of the MLP have.
      classifier_bias: Whether the dense layer before either head has one.
      decoder_bias: Whether the output layer of the language model has one.
      classifier_activation: Activation before either head, a key of `ACTIVATIONS`.

    >>> raw = {"vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 4,
    ...     "num_attention_heads": 2, "intermediate_size": 8, "local_attention": 6}
    >>> config = ModernBertConfig.from_hugging_face(raw)
    >>> [kind.window for kind in config.kinds]
    [None, 3, 3, None]
    """

    max_position_embeddings: int = 8192
    layer_norm_eps: float = 1e-5
    pad_token_id: int | None = 50283
    local_attention: int = 128
    layer_types: tuple[str, ...] | None = None
    rotary: Rotary = PLAIN
    local_rotary: Rotary = PLAIN
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    classifier_bias: bool = False
    decoder_bias: bool = True
    classifier_activation: str = "gelu"

    POOLINGS: ClassVar[tuple[str, ...]] = ("cls", "mean")
    RENAMED: ClassVar[Mapping[str, str]] = {
        "layer_norm_eps": "norm_eps",
        "hidden_act": "hidden_activation",
    }

    def __post_init__(self) -> None:
        """Refuses options that the network would otherwise misread in silence."""
        super().__post_init__()
        check_layer_types(self.types, self.num_hidden_layers)
        if self.num_hidden_layers < 2:
            raise ValueError(f"num_hidden_layers={self.num_hidden_layers} must be at least 2")
        if self.local_attention < 1:
            raise ValueError(f"local_attention={self.local_attention} must be at least 1")
        if self.head_size % 2:
            raise ValueError(f"the size of a head, {self.head_size}, must be even")
        if self.classifier_activation not in ACTIVATIONS:
            raise ValueError(
                f"classifier_activation={self.classifier_activation!r} is not supported; use one "
                f"of {sorted(ACTIVATIONS)}"
            )

    @property
    def types(self) -> tuple[str, ...]:
        """Type of every layer."""
        if self.layer_types is None:
            return (FULL,) * self.num_hidden_layers
        return self.layer_types

    @property
    def kinds(self) -> tuple[LayerKind, ...]:
        """The kind of every layer; a window is how far it reads on either side."""
        near = LayerKind(self.local_rotary, self.local_attention // 2)
        whole = LayerKind(self.rotary)
        return tuple(near if kind == SLIDING else whole for kind in self.types)

    @classmethod
    def own_pooling(cls, raw: Mapping[str, Any]) -> str:
        """The pooling of a parsed `config.json` where nobody chose another."""
        return raw.get("classifier_pooling") or cls.POOLINGS[0]

    @classmethod
    def translate(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parsed file with both rotations and the types of the layers."""
        every = period(raw, "global_attn_every_n_layers", 3)
        rotary = Rotary.of_layers(raw, FULL, base="global_rope_theta", theta=160000.0)
        local = Rotary.of_layers(raw, SLIDING, base="local_rope_theta", theta=10000.0)
        types = layer_types(raw, lambda layer: layer % every != 0)
        return {**raw, "rotary": rotary, "local_rotary": local, "layer_types": types}


def _norm(config: ModernBertConfig, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return layer_norm(config.hidden_size, config.layer_norm_eps, rngs, bias=config.norm_bias)


class ModernBertAttention(nnx.Module):
    """Multi-head self-attention whose queries, keys and values come from one dense layer."""

    def __init__(self, config: ModernBertConfig, *, rngs: nnx.Rngs):
        width, bias = config.hidden_size, config.attention_bias
        self.head_size = config.head_size
        self.input = linear(width, 3 * width, rngs, bias=bias)
        self.output = linear(width, width, rngs, bias=bias)

    def __call__(
        self, x_BxTxD: Float[Array, "B T D"], mask: Bool[Array, "B 1 #T T"], angles: Angles
    ) -> Float[Array, "B T D"]:
        """Attends from every token to what the mask shows it."""
        query, key, value = jnp.split(self.input(x_BxTxD), 3, axis=-1)
        query, key = rotate(query, angles), rotate(key, angles)
        return self.output(attend(query, key, value, mask, head_size=self.head_size))


class ModernBertLayer(nnx.Module):
    """Attention and a gated MLP, each normalised before it reads the stream.

    The attention of the first layer reads the embeddings as they are: these are normalised already.
    """

    def __init__(self, config: ModernBertConfig, *, first: bool = False, rngs: nnx.Rngs):
        widths, bias = (config.hidden_size, config.intermediate_size), config.mlp_bias
        self.activation = ACTIVATIONS[config.hidden_act]
        if not first:
            self.attention_norm = _norm(config, rngs)
        self.attention = ModernBertAttention(config, rngs=rngs)
        self.mlp_norm = _norm(config, rngs)
        self.up_gate = linear(widths[0], 2 * widths[1], rngs, bias=bias)
        self.down = linear(widths[1], widths[0], rngs, bias=bias)

    def __call__(
        self, x: Float[Array, "B T D"], mask: Bool[Array, "B 1 #T T"], angles: Angles
    ) -> Float[Array, "B T D"]:
        """Applies the layer."""
        read = self.attention_norm(x) if hasattr(self, "attention_norm") else x
        x = x + self.attention(read, mask, angles)
        up, gate = jnp.split(self.up_gate(self.mlp_norm(x)), 2, axis=-1)
        return x + self.down(self.activation(up) * gate)


class ModernBertEmbeddings(nnx.Module):
    """The word embedding, normalised; positions are the heads' affair."""

    def __init__(self, config: ModernBertConfig, *, rngs: nnx.Rngs):
        self.word = Embedding(config.vocab_size, config.hidden_size, rngs=rngs)
        self.norm = _norm(config, rngs)

    def __call__(self, input_ids: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """Embeds the tokens."""
        return self.norm(self.word(input_ids))


class PredictionHead(nnx.Module):
    """Dense, activation and norm; what stands before either head, and is trained with both."""

    def __init__(self, config: ModernBertConfig, *, rngs: nnx.Rngs):
        self.activation = ACTIVATIONS[config.classifier_activation]
        width, bias = config.hidden_size, config.classifier_bias
        self.dense = linear(width, width, rngs, bias=bias)
        self.norm = _norm(config, rngs)

    def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... D"]:
        """Hidden states for the head."""
        return self.norm(self.activation(self.dense(x)))


class ModernBertNetwork(MaskedNetwork):
    """A ModernBERT with a classifier or a masked language model on top.

    Args:
      config: The configuration.
      rngs: Source of the random initial parameters.

    >>> config = ModernBertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=3,
    ...     num_attention_heads=2, intermediate_size=8)
    >>> model = nnx.eval_shape(lambda: ModernBertNetwork(config, rngs=nnx.Rngs(0)))
    >>> model.layers.attention.input.kernel.shape  # all but the first
    (2, 4, 12)
    """

    def __init__(self, config: ModernBertConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.embeddings = ModernBertEmbeddings(config, rngs=rngs)
        self.first = ModernBertLayer(config, first=True, rngs=rngs)
        layer = lambda rngs: ModernBertLayer(config, rngs=rngs)
        self.layers = stack_layers(layer, config.num_hidden_layers - 1, rngs)
        self.norm = _norm(config, rngs)
        self.head = PredictionHead(config, rngs=rngs)
        if config.head == "classification":
            self.classifier = linear(config.hidden_size, config.num_labels, rngs)
        elif config.decoder_bias:
            self.bias = nnx.Param(jnp.zeros((config.vocab_size,)))

    def encode(
        self, input_ids: Tokens, attention_mask: Mask, token_type_ids: Tokens | None = None
    ) -> Float[Array, "B T D"]:
        """Last hidden state of every token; see `MaskedNetwork.encode`.

        There are no segments, and `token_type_ids` are left alone.
        """
        check_length(input_ids, self.config.max_length)
        read, size = padding_mask(attention_mask), self.config.head_size
        place = np.arange(input_ids.shape[1])
        apart = np.abs(place[:, None] - place[None, :])[None, None]

        def view(kind: LayerKind) -> tuple[Bool[Array, "B 1 #T T"], Angles]:
            near = apart <= (apart.max() if kind.window is None else kind.window)
            return read & near, kind.angles(place, size)

        first, *others = self.config.kinds
        x_BxTxD = self.first(self.embeddings(jnp.asarray(input_ids)), *view(first))
        shared, kinds = views_of(others, view)
        return self.norm(scan_layers(self.layers, x_BxTxD, *shared, kinds=kinds))

    def classify(
        self, x_BxTxD: Float[Array, "B T D"], mask_BxT: Bool[Array, "B T"]
    ) -> Float[Array, "B C"]:
        """The first unmasked hidden state or the mean of all, the head, a linear layer."""
        wide = jnp.promote_types(x_BxTxD.dtype, jnp.float32)
        if self.config.pooling == "mean":
            pooled_BxD = mean_of(x_BxTxD, mask_BxT)
        else:  # behind padding on the left, where a window shows the first place nothing
            pooled_BxD = token_at(x_BxTxD, jnp.argmax(mask_BxT, axis=1))
        return self.classifier(self.head(pooled_BxD).astype(wide))

    def masked_lm(
        self,
        x: Float[Array, "... D"],
        word: Embedding,
        index: Int[Array | np.ndarray, " C"] | None = None,
    ) -> Float[Array, "... V"]:
        """Logits of all tokens, or of those with the given numbers."""
        logits = word.logits(self.head(x), index)
        if not self.config.decoder_bias:
            return logits
        bias = self.bias[...] if index is None else self.bias[...][index]
        return logits + bias.reshape((1,) * (x.ndim - 1) + bias.shape)


_LAYER = "model.layers.{layer}"


def _layer_rows(config: ModernBertConfig, name: str, path: str, first: int) -> list[WeightRow]:
    attention = {"bias": config.attention_bias}
    rows = [
        *WeightRow.linear(f"{name}.attn.Wqkv", f"{path}/attention/input", **attention),
        *WeightRow.linear(f"{name}.attn.Wo", f"{path}/attention/output", **attention),
        *WeightRow.norm(f"{name}.mlp_norm", f"{path}/mlp_norm", bias=config.norm_bias),
        *WeightRow.linear(f"{name}.mlp.Wi", f"{path}/up_gate", bias=config.mlp_bias),
        *WeightRow.linear(f"{name}.mlp.Wo", f"{path}/down", bias=config.mlp_bias),
    ]
    return [row._replace(first=first) for row in rows]


def _weight_table(config: ModernBertConfig) -> WeightTable:
    """Total for `ModernBertModel` and `ModernBertFor-SequenceClassification, -MaskedLM`."""
    norm = lambda name, path: WeightRow.norm(name, path, bias=config.norm_bias)
    after = [row._replace(first=1) for row in norm(f"{_LAYER}.attn_norm", "layers/attention_norm")]
    word = "model.embeddings.tok_embeddings.weight"
    rows = [
        WeightRow(word, "embeddings/word/embedding"),
        *norm("model.embeddings.norm", "embeddings/norm"),
        *_layer_rows(config, _LAYER.format(layer=0), "first", 0),
        *after,
        *_layer_rows(config, _LAYER, "layers", 1),
        *norm("model.final_norm", "norm"),
        *WeightRow.linear("head.dense", "head/dense", bias=config.classifier_bias),
        *norm("head.norm", "head/norm"),
    ]
    unused = ("decoder.*",)
    if config.head == "classification":
        rows += WeightRow.linear("classifier", "classifier")
    else:
        unused = ("classifier.*", "decoder.weight")
        rows += [WeightRow("decoder.bias", "bias")] * config.decoder_bias
    return WeightTable(
        rows=tuple(rows),
        prefix="model.",
        head="classifier",
        pooler="head" if config.head == "classification" else "",
        ignored=unused,
        tied=(("decoder.weight", word),),
    )


def _export(config: ModernBertConfig) -> Export:
    """The torch class that computes the same, which is told the pooling."""
    export = encoder_export(config)
    return Export(export.architecture, settings={"classifier_pooling": config.pooling})


MODERNBERT = Family(ModernBertConfig, ModernBertNetwork, _weight_table, _export)
