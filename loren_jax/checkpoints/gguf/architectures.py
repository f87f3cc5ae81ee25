"""The families of GGUF files that are read, and in what their files differ.

The files do not say everything: what llama.cpp knows by the family's name stands here.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from loren_jax.checkpoints.gguf.header import GGUFHeader

_READ = """
vocab_size context_length embedding_length block_count feed_forward_length attention.head_count
attention.head_count_kv attention.key_length attention.value_length
attention.layer_norm_rms_epsilon rope.dimension_count rope.freq_base rope.scale_linear
rope.scaling.type rope.scaling.factor rope.scaling.original_context_length rope.scaling.finetuned
expert_count expert_used_count tensor_data_layout
"""
_CAPS = ("attn_logit_softcapping", "final_logit_softcapping")
_WINDOW = "attention.sliding_window"

_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_FOUR_NORMS = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


class Architecture(NamedTuple):
    """What is to be known of a family.

    Attributes:
      name: What the file calls the family; its options are `name.*`.
      model_type: What `config.json` calls it.
      model_class: The class of transformers with the output layer.
      tensors: Name of a layer's tensor in the file -> Hugging Face's.
      options: Options of the file that not every family has.
      interleaved: Whether the two features that are turned together are neighbours in the file.
      norm_excess: By how much the scales of the norms exceed Hugging Face's numbers.
      said: Entries of `config.json` that are the same in all files.
    """

    name: str
    model_type: str
    model_class: str
    tensors: Mapping[str, str] = _LAYER
    options: tuple[str, ...] = ()
    interleaved: bool = False
    norm_excess: float = 0.0
    said: Mapping[str, Any] = {"hidden_act": "silu"}

    def refuse_unknown(self, header: GGUFHeader) -> None:
        """Refuses an option that would change the computation."""
        known = {f"{self.name}.{key}" for key in (*_READ.split(), *self.options)}
        unknown = [k for k in header.metadata if k.startswith(f"{self.name}.") and k not in known]
        if unknown:
            raise ValueError(f"{header.path}: the option {unknown[0]!r} is not supported")
        if header.get(f"{self.name}.expert_count", 0):
            raise ValueError(f"{header.path} is a mixture of experts, which is not supported")


_GEMMA = {"hidden_activation": "gelu_pytorch_tanh"}
ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        # Mistral's files too; converters do not tell the window of the first Mistral 7B.
        Architecture("llama", "llama", "LlamaForCausalLM", interleaved=True),
        Architecture("qwen2", "qwen2", "Qwen2ForCausalLM"),
        Architecture("qwen3", "qwen3", "Qwen3ForCausalLM", tensors=_LAYER | _HEAD_NORMS),
        Architecture(
            *("gemma2", "gemma2", "Gemma2ForCausalLM"),
            tensors=_LAYER | _FOUR_NORMS,
            options=(_WINDOW, *_CAPS),
            norm_excess=1.0,
            said=_GEMMA,
        ),
        Architecture(
            *("gemma3", "gemma3_text", "Gemma3ForCausalLM"),
            tensors=_LAYER | _FOUR_NORMS | _HEAD_NORMS,
            options=(_WINDOW, _CAPS[1], "attention.sliding_window_pattern", "rope.freq_base_swa"),
            norm_excess=1.0,
            said=_GEMMA,
        ),
        Architecture(
            *("smollm3", "smollm3", "SmolLM3ForCausalLM"),
            interleaved=True,
            said={"hidden_act": "silu", "no_rope_layer_interval": 4},
        ),
    )
}
"""Name in the file -> what is known of the family."""


def architecture_of(header: GGUFHeader) -> Architecture:
    """The family of a file; another one, and an option that is not read, are a ValueError."""
    name = header.require("general.architecture")
    if name not in ARCHITECTURES:
        raise ValueError(
            f"{header.path} is of the family {name!r}; the families that are read are "
            f"{sorted(ARCHITECTURES)}"
        )
    ARCHITECTURES[name].refuse_unknown(header)
    return ARCHITECTURES[name]
