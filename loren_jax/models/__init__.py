"""Networks that read and write Hugging Face checkpoints, as pure functions of their parameters.

Typical use::

    directory = locate("minilm")
    model = load_classifier(directory, num_labels=2)
    logits = model.apply(model.params, input_ids, attention_mask)
    export_classifier("tuned", directory, model.config, model.params, ("negative", "positive"))

The library's optimisers do not need this package: they take any function of any parameters.
"""

from loren_jax.models.bert import BertNetwork as BertNetwork
from loren_jax.models.bert_config import BertConfig as BertConfig
from loren_jax.models.distilbert import DistilBertConfig as DistilBertConfig
from loren_jax.models.distilbert import DistilBertNetwork as DistilBertNetwork
from loren_jax.models.export import Export as Export
from loren_jax.models.families import FAMILIES as FAMILIES
from loren_jax.models.families import Classifier as Classifier
from loren_jax.models.families import Family as Family
from loren_jax.models.families import LanguageModel as LanguageModel
from loren_jax.models.families import apply_function as apply_function
from loren_jax.models.families import bind as bind
from loren_jax.models.families import choice_function as choice_function
from loren_jax.models.families import family_of as family_of
from loren_jax.models.families import init_classifier as init_classifier
from loren_jax.models.families import init_language_model as init_language_model
from loren_jax.models.generation import generate as generate
from loren_jax.models.gpt2 import GPT2Network as GPT2Network
from loren_jax.models.gpt2_config import GPT2Config as GPT2Config
from loren_jax.models.hugging_face import export_classifier as export_classifier
from loren_jax.models.hugging_face import export_language_model as export_language_model
from loren_jax.models.hugging_face import load_classifier as load_classifier
from loren_jax.models.hugging_face import load_language_model as load_language_model
from loren_jax.models.hugging_face import load_prompted as load_prompted
from loren_jax.models.language_loss import perplexity as perplexity
from loren_jax.models.language_loss import span_loss as span_loss
from loren_jax.models.llama import LlamaNetwork as LlamaNetwork
from loren_jax.models.llama_config import LlamaConfig as LlamaConfig
from loren_jax.models.location import locate as locate
from loren_jax.models.opt import OPTNetwork as OPTNetwork
from loren_jax.models.opt_config import OPTConfig as OPTConfig
from loren_jax.models.partition import tensor_parallel as tensor_parallel
from loren_jax.models.roberta import RobertaConfig as RobertaConfig
from loren_jax.models.roberta import RobertaNetwork as RobertaNetwork
from loren_jax.models.weights import WeightRow as WeightRow
from loren_jax.models.weights import WeightTable as WeightTable
