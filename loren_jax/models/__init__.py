"""Networks that read and write Hugging Face checkpoints, as pure functions of their parameters.

Typical use::

    directory = locate("minilm")
    model = load_classifier(directory, num_labels=2)
    logits = model.apply(model.params, input_ids, attention_mask)
    export_classifier("tuned", directory, model.config, model.params, ("negative", "positive"))

The library's optimisers do not need this package: they take any function of any parameters.
"""

from loren_jax.models.bert import BertClassifier as BertClassifier
from loren_jax.models.bert_config import BertConfig as BertConfig
from loren_jax.models.families import FAMILIES as FAMILIES
from loren_jax.models.families import Classifier as Classifier
from loren_jax.models.families import Family as Family
from loren_jax.models.families import apply_function as apply_function
from loren_jax.models.families import bind as bind
from loren_jax.models.families import init_classifier as init_classifier
from loren_jax.models.hugging_face import export_classifier as export_classifier
from loren_jax.models.hugging_face import load_classifier as load_classifier
from loren_jax.models.hugging_face import locate as locate
from loren_jax.models.weights import WeightRow as WeightRow
from loren_jax.models.weights import WeightTable as WeightTable
