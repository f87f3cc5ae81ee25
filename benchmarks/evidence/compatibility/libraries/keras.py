"""Keras and KerasHub."""

import keras
import keras_hub
import numpy as np
from keras import layers

import loren_jax
from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import cross_entropy, next_token

cases = Cases("keras", "keras-hub")
IDS = np.random.RandomState(0).randint(0, 100, (4, 12)).astype("int32")
TEXT = {"token_ids": IDS, "padding_mask": np.ones_like(IDS)}
SIZES = {"vocabulary_size": 100, "num_layers": 2, "hidden_dim": 32, "intermediate_dim": 64}
GROUPED = {"num_query_heads": 2, "num_key_value_heads": 1}


def of(model, x, loss=cross_entropy, **call):
    """Parameters and loss of a model."""
    functional = loren_jax.from_keras(model)
    return functional.params, lambda p: functional.loss(lambda m: loss(m(x, **call)))(p)


def language(kind, sizes=SIZES, **own):
    """A language model of KerasHub, by the beginning of its name."""
    backbone = getattr(keras_hub.models, f"{kind}Backbone")(**sizes, **own)
    return getattr(keras_hub.models, f"{kind}CausalLM")(backbone=backbone, preprocessor=None)


def of_language(model):
    """Parameters and loss of it."""
    return of(model, TEXT, lambda scores: next_token(scores, IDS))


def bert(**call):
    """A classifier."""
    backbone = keras_hub.models.BertBackbone(**SIZES, num_heads=2, max_sequence_length=16)
    own = {"backbone": backbone, "num_classes": 4, "preprocessor": None, "dropout": 0.1}
    model = keras_hub.models.BertTextClassifier(**own)
    return of(model, TEXT | {"segment_ids": np.zeros_like(IDS)}, **call)


cases(bert, "BertTextClassifier")
cases(lambda: bert(training=True), "BertTextClassifier, training, dropout")
places = {"num_heads": 2, "max_sequence_length": 16}
cases(lambda: of_language(language("GPT2", **places)), "GPT2CausalLM")
cases(lambda: of_language(language("Gemma", **GROUPED, head_dim=16)), "GemmaCausalLM")
cases(lambda: of_language(language("Llama3", **GROUPED)), "Llama3CausalLM")
experts = {"num_experts": 4, "top_k": 2}
cases(lambda: of_language(language("Mixtral", **GROUPED, **experts)), "MixtralCausalLM")


def adapted(quantised=False):
    """Gemma with adapters."""
    model = language("Gemma", **GROUPED, head_dim=16)
    model.backbone.enable_lora(rank=2)
    if quantised:
        model.quantize("int8")
    return of_language(model)


cases(adapted, "GemmaCausalLM, enable_lora")
cases(lambda: adapted(True), "GemmaCausalLM, enable_lora, quantize int8")


@cases
def images():
    """Convolutional network on bytes."""
    parts = [
        layers.Input((16, 16, 3)), layers.Rescaling(1 / 255.0), layers.Conv2D(8, 3),
        layers.BatchNormalization(), layers.ReLU(), layers.SeparableConv2D(8, 3),
        layers.GlobalAveragePooling2D(), layers.Dense(4),
    ]  # fmt: skip
    x = np.random.RandomState(0).randint(0, 255, (4, 16, 16, 3)).astype("uint8")
    return of(keras.Sequential(parts), x)


@cases
def whole_numbers():
    """MLP on integer features."""
    parts = [layers.Input((16,)), layers.Dense(32, activation="relu"), layers.Dense(4)]
    return of(keras.Sequential(parts), np.random.RandomState(0).randint(0, 5, (4, 16)))


@cases
def recurrent():
    """Embedding with mask_zero, LSTM both ways, GRU."""
    both = layers.Bidirectional(layers.LSTM(8, return_sequences=True))
    embed = layers.Embedding(100, 16, mask_zero=True)
    parts = [layers.Input((12,)), embed, both, layers.GRU(8), layers.Dense(4)]
    return of(keras.Sequential(parts), IDS)


@cases
def attention():
    """MultiHeadAttention, GroupQueryAttention, functional."""
    ids = layers.Input((12,))
    x = layers.Embedding(100, 32)(ids)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 8)(x, x))
    x = layers.GroupQueryAttention(8, 4, 2)(x, x)
    return of(keras.Model(ids, layers.Dense(4)(layers.GlobalAveragePooling1D()(x))), IDS)


@cases(tolerance=0.3, remark="copies round the perturbation")
def mixed():
    """Policy mixed_bfloat16."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        parts = [
            layers.Input((12,)), layers.Embedding(100, 32), layers.Dense(32, activation="gelu"),
            layers.GlobalAveragePooling1D(), layers.Dense(4, dtype="float32"),
        ]  # fmt: skip
        return of(keras.Sequential(parts), IDS)
    finally:
        keras.config.set_dtype_policy("float32")
