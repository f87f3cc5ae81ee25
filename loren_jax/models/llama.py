"""Llama: configuration and network; the tensors' names are those that others took over."""

from dataclasses import dataclass

from loren_jax.models.decoder import decoder_export
from loren_jax.models.gated import ATTENTION, MLP, GatedConfig, GatedDecoder, gated_table
from loren_jax.models.network import Family


@dataclass(frozen=True, kw_only=True)
class LlamaConfig(GatedConfig):
    """Shape and options of a Llama; the fields carry Hugging Face's names, save `rotary`.

    Those of `GatedConfig`, and:

    Attributes:
      attention_bias: Whether the dense layers of the attention have biases.
      mlp_bias: Whether those of the MLP have.

    >>> config = LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=2,
    ...     num_attention_heads=4, intermediate_size=8, num_key_value_heads=2)
    >>> config.head_size, config.key_value_heads
    (2, 2)
    """

    attention_bias: bool = False
    mlp_bias: bool = False

    @property
    def biased(self) -> tuple[str, ...]:
        """Which dense layers of a layer have biases, by our names."""
        return ATTENTION * self.attention_bias + MLP * self.mlp_bias


class LlamaNetwork(GatedDecoder):
    """A Llama with a classification head or as a language model.

    Args:
      config: The configuration.
      rngs: Source of the random initial parameters.

    >>> from flax import nnx
    >>> config = LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=2,
    ...     num_attention_heads=4, intermediate_size=8, num_key_value_heads=2)
    >>> model = nnx.eval_shape(lambda: LlamaNetwork(config, rngs=nnx.Rngs(0)))
    >>> model.layers.attention.key.kernel.shape  # two layers
    (2, 8, 4)
    """


LLAMA = Family(LlamaConfig, LlamaNetwork, gated_table, decoder_export)
