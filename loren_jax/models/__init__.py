"""Networks that read and write Hugging Face checkpoints, as pure functions of their parameters.

Typical use::

    directory = locate("sentence-transformers/all-MiniLM-L6-v2")
    model = load_classifier(directory, num_labels=2)
    logits = model.apply(model.params, input_ids, attention_mask)
    export_classifier("tuned", directory, model.config, model.params, ("negative", "positive"))

The library's optimisers do not need this package: they take any function of any parameters.
"""

from loren_jax.models.bert import BertNetwork
from loren_jax.models.bert_config import BertConfig
from loren_jax.models.distilbert import DistilBertConfig, DistilBertNetwork
from loren_jax.models.export import Export
from loren_jax.models.families import (
    FAMILIES,
    Classifier,
    Family,
    LanguageModel,
    apply_function,
    bind,
    choice_function,
    family_of,
    init_classifier,
    init_language_model,
)
from loren_jax.models.generation import generate
from loren_jax.models.gpt2 import GPT2Network
from loren_jax.models.gpt2_config import GPT2Config
from loren_jax.models.hugging_face import (
    export_classifier,
    export_language_model,
    load_classifier,
    load_language_model,
    load_prompted,
)
from loren_jax.models.language_loss import perplexity, span_loss
from loren_jax.models.llama import LlamaNetwork
from loren_jax.models.llama_config import LlamaConfig
from loren_jax.models.location import locate
from loren_jax.models.opt import OPTNetwork
from loren_jax.models.opt_config import OPTConfig
from loren_jax.models.partition import tensor_parallel
from loren_jax.models.roberta import RobertaConfig, RobertaNetwork
from loren_jax.models.weights import WeightRow, WeightTable

__all__ = [
    "FAMILIES", "BertConfig", "BertNetwork", "Classifier", "DistilBertConfig", "DistilBertNetwork",
    "Export", "Family", "GPT2Config", "GPT2Network", "LanguageModel", "LlamaConfig",
    "LlamaNetwork", "OPTConfig", "OPTNetwork", "RobertaConfig", "RobertaNetwork", "WeightRow",
    "WeightTable", "apply_function", "bind", "choice_function", "export_classifier",
    "export_language_model", "family_of", "generate", "init_classifier", "init_language_model",
    "load_classifier", "load_language_model", "load_prompted", "locate", "perplexity", "span_loss",
    "tensor_parallel",
]  # fmt: skip
