"""Networks that read and write Hugging Face checkpoints, as pure functions of their parameters.

Typical use::

    directory = locate("sentence-transformers/all-MiniLM-L6-v2")
    model = load_classifier(directory, num_labels=2)
    logits = model.apply(model.params, input_ids, attention_mask)
    export_classifier("tuned", directory, model.config, model.params, ("negative", "positive"))

The library's optimisers do not need this package: they take any function of any parameters.
"""

from loren_jax.models.bert import BertConfig, BertNetwork
from loren_jax.models.decoder import span_loss
from loren_jax.models.decoding import Answers, Decoding, decode
from loren_jax.models.distilbert import DistilBertConfig, DistilBertNetwork
from loren_jax.models.families import (
    FAMILIES,
    Classifier,
    LanguageModel,
    apply_function,
    bind,
    choice_function,
    family_of,
    init_params,
)
from loren_jax.models.gemma2 import Gemma2Config, Gemma2Network
from loren_jax.models.gemma3 import Gemma3TextConfig, Gemma3TextNetwork
from loren_jax.models.generation import Generated, generate
from loren_jax.models.gguf_export import export_gguf
from loren_jax.models.gpt2 import GPT2Config, GPT2Network
from loren_jax.models.hugging_face import (
    export_classifier,
    export_language_model,
    load_classifier,
    load_language_model,
    load_prompted,
)
from loren_jax.models.llama import LlamaConfig, LlamaNetwork
from loren_jax.models.location import locate
from loren_jax.models.low_bit import Storage
from loren_jax.models.mistral import MistralConfig, MistralNetwork
from loren_jax.models.modernbert import ModernBertConfig, ModernBertNetwork
from loren_jax.models.network import Export, Family
from loren_jax.models.opt import OPTConfig, OPTNetwork
from loren_jax.models.partition import tensor_parallel
from loren_jax.models.qwen2 import Qwen2Config, Qwen2Network
from loren_jax.models.qwen3 import Qwen3Config, Qwen3Network
from loren_jax.models.roberta import RobertaConfig, RobertaNetwork
from loren_jax.models.sampling import Sampling
from loren_jax.models.smollm3 import SmolLM3Config, SmolLM3Network
from loren_jax.models.weights import WeightRow, WeightTable

__all__ = [
    "FAMILIES", "Answers", "BertConfig", "BertNetwork", "Classifier", "Decoding",
    "DistilBertConfig", "DistilBertNetwork", "Export", "Family", "GPT2Config", "GPT2Network",
    "Gemma2Config", "Gemma2Network", "Gemma3TextConfig", "Gemma3TextNetwork", "Generated",
    "LanguageModel", "LlamaConfig", "LlamaNetwork", "MistralConfig", "MistralNetwork",
    "ModernBertConfig", "ModernBertNetwork", "OPTConfig", "OPTNetwork", "Qwen2Config",
    "Qwen2Network", "Qwen3Config", "Qwen3Network", "RobertaConfig", "RobertaNetwork", "Sampling",
    "SmolLM3Config", "SmolLM3Network", "Storage", "WeightRow", "WeightTable", "apply_function",
    "bind", "choice_function", "decode", "export_classifier", "export_gguf",
    "export_language_model", "family_of", "generate", "init_params", "load_classifier",
    "load_language_model", "load_prompted", "locate", "span_loss", "tensor_parallel",
]  # fmt: skip
