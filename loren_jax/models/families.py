"""The families of networks that a checkpoint can belong to, and the form they share.

The rest of the library sees one form only: a pure function of a nested dictionary of arrays. A new
family adds a file with its configuration, network and weight table, and one entry to `FAMILIES`.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from loren_jax.checkpoints.model_type import described_type
from loren_jax.models.bert import BERT, MEAN_POOLED
from loren_jax.models.decoder import Decoder
from loren_jax.models.distilbert import DISTILBERT
from loren_jax.models.gemma2 import GEMMA2
from loren_jax.models.gemma3 import GEMMA3_TEXT
from loren_jax.models.gpt2 import GPT2
from loren_jax.models.layers import INIT_STD
from loren_jax.models.llama import LLAMA
from loren_jax.models.mistral import MISTRAL
from loren_jax.models.modernbert import MODERNBERT
from loren_jax.models.network import Family, NetworkConfig
from loren_jax.models.opt import OPT
from loren_jax.models.qwen2 import QWEN2
from loren_jax.models.qwen3 import QWEN3
from loren_jax.models.roberta import ROBERTA
from loren_jax.models.smollm3 import SMOLLM3
from loren_jax.models.weights import flatten_params, unflatten_params

FAMILIES: Mapping[str, Family] = {
    "bert": BERT,
    "roberta": ROBERTA,
    "distilbert": DISTILBERT,
    "modernbert": MODERNBERT,
    "gpt2": GPT2,
    "opt": OPT,
    "llama": LLAMA,
    "mistral": MISTRAL,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "gemma2": GEMMA2,
    "gemma3_text": GEMMA3_TEXT,
    "smollm3": SMOLLM3,
}
"""`model_type` of `config.json` -> what the library knows of it."""


class Classifier(NamedTuple):
    """A text classifier as a pure function and its parameters.

    Attributes:
      config: The family's configuration.
      apply: `apply(params, input_ids, attention_mask, token_type_ids=None) -> logits`, with
        (B, T) inputs and (B, C) logits; pure, for `jax.jit` and any other transformation.
      params: Nested dictionary of arrays.
      label_names: Names of the C classes.
      new_layer: Path of the layer that gives the logits, where the checkpoint had no head and it
        was drawn anew; else None.
    """

    config: Any
    apply: Callable[..., jax.Array]
    params: dict[str, Any]
    label_names: tuple[str, ...]
    new_layer: str | None = None


class LanguageModel(NamedTuple):
    """A causal or masked language model as a pure function and its parameters.

    Attributes:
      config: The family's configuration.
      apply: `apply(params, input_ids, attention_mask, token_type_ids=None) -> logits`, with
        (B, T) inputs and (B, T, V) logits: of the next token in a causal model, of the token
        itself in a masked one.
      params: Nested dictionary of arrays.
    """

    config: Any
    apply: Callable[..., jax.Array]
    params: dict[str, Any]


def family_described(raw: Mapping[str, Any]) -> Family:
    """The family that a parsed `config.json` is of, by its type or else by its class.

    A ValueError if it is none of ours, or the file tells neither.

    >>> family_described({"architectures": ["BertForMaskedLM"]}).config.__name__
    'BertConfig'
    """
    model_type = described_type(raw)
    if model_type == MEAN_POOLED:
        return BERT
    if model_type in FAMILIES:
        return FAMILIES[model_type]
    if raw.get("model_type"):
        raise ValueError(
            f"model_type={model_type!r} is not supported; the families are {sorted(FAMILIES)}"
        )
    raise ValueError(
        f"config.json says no model_type; add it as one of {sorted(FAMILIES)}, if the model is one"
    )


def family_of(config: Any) -> Family:
    """The family that a configuration belongs to.

    Args:
      config: A configuration of any family.

    Returns:
      The family.

    Raises:
      TypeError: If no family has configurations of this type.
    """
    for family in FAMILIES.values():
        if isinstance(config, family.config):
            return family
    names = sorted(family.config.__name__ for family in FAMILIES.values())
    raise TypeError(f"config is a {type(config).__name__}; it must be one of {names}")


def model_type_of(config: Any) -> str:
    """What `config.json` calls the family of a configuration."""
    family = family_of(config)
    return next(name for name, known in FAMILIES.items() if known is family)


def abstract_params(config: NetworkConfig) -> dict[str, Any]:
    """Shapes of the parameters, nested `jax.ShapeDtypeStruct`; nothing is computed."""
    return nnx.to_pure_dict(_abstract_network(config)[1])


def bind(config: NetworkConfig, params: Mapping[str, Any]) -> Any:
    """The network as a Flax NNX module that holds these parameters.

    Args:
      config: A configuration of any family.
      params: Nested dictionary of arrays.

    Returns:
      The module, for what `apply` does not give, such as hidden states.
    """
    return nnx.merge(_abstract_network(config)[0], params)


@functools.cache
def apply_function(config: NetworkConfig) -> Callable[..., jax.Array]:
    """The network as a pure function of its parameters.

    Cached, so that equal configurations give the same function and a jitted caller compiles once.

    Args:
      config: A configuration of any family.

    Returns:
      `apply(params, input_ids, attention_mask, token_type_ids=None) -> logits`.
    """

    def apply(params, input_ids, attention_mask, token_type_ids=None):
        return bind(config, params)(input_ids, attention_mask, token_type_ids)

    return apply


def choice_function(config: NetworkConfig, token_ids: Sequence[int]) -> Callable[..., jax.Array]:
    """A language model's logits of a few tokens at the place of the answer, as a pure function.

    Cached like `apply_function`.

    Args:
      config: A configuration of any family, with the head of a language model.
      token_ids: The C tokens to choose from, each a number of the vocabulary.

    Returns:
      `apply(params, input_ids, attention_mask, token_type_ids=None) -> logits` (B, C).

    Raises:
      ValueError: If the configuration has no such head, the masked model no mask token, or the
        tokens are not different numbers of the vocabulary.

    >>> config = BERT.config(vocab_size=8, hidden_size=4, num_hidden_layers=1,
    ...     num_attention_heads=2, intermediate_size=8, head="language_model", mask_token_id=3)
    >>> choice_function(config, [5, 9])
    Traceback (most recent call last):
    ...
    ValueError: token_ids=[5, 9] must be different numbers from 0 to 7
    """
    tokens = tuple(int(token) for token in token_ids)
    if config.head != "language_model":
        raise ValueError(f"config.head={config.head!r} has no token logits; use 'language_model'")
    if getattr(config, "mask_token_id", -1) is None:
        raise ValueError(
            "config.mask_token_id=None: a masked language model answers at its mask token; keep "
            "tokenizer.json beside the model, or put mask_token_id into config.json"
        )
    inside = all(0 <= token < config.vocab_size for token in tokens)
    if not tokens or len(set(tokens)) != len(tokens) or not inside:
        raise ValueError(
            f"token_ids={list(tokens)} must be different numbers from 0 to {config.vocab_size - 1}"
        )
    return _choice_function(config, tokens)


@functools.cache
def _choice_function(config: NetworkConfig, tokens: tuple[int, ...]) -> Callable[..., jax.Array]:
    def apply(params, input_ids, attention_mask, token_type_ids=None):
        network = bind(config, params)
        return network.choices(input_ids, attention_mask, token_type_ids, np.array(tokens))

    return apply


@functools.cache
def prediction_function(config: NetworkConfig) -> Callable[..., jax.Array]:
    """A causal language model's logits at a few places of each row, as a pure function.

    Those of the other places are not computed, which are most of the memory of a short answer
    behind a long prompt. Cached like `apply_function`.

    Args:
      config: A configuration of a decoder, with the head of a language model.

    Returns:
      `apply(params, input_ids, attention_mask, positions) -> logits` (B, S, V) of the tokens
      that follow the S `positions` of each row.

    Raises:
      ValueError: If it is no decoder, or has no such head.

    >>> config = BERT.config(vocab_size=8, hidden_size=4, num_hidden_layers=1,
    ...     num_attention_heads=2, intermediate_size=8)
    >>> prediction_function(config)
    Traceback (most recent call last):
    ...
    ValueError: model: a BertConfig with head='classification' predicts no next token; ...
    """
    if not issubclass(family_of(config).network, Decoder) or config.head != "language_model":
        raise ValueError(
            f"model: a {type(config).__name__} with head={config.head!r} predicts no next token; "
            "take a causal language model, such as SmolLM2, Llama, OPT or GPT-2"
        )

    def apply(params, input_ids, attention_mask, positions):
        network = bind(config, params)
        hidden_BxTxD = network.encode(input_ids, attention_mask)
        chosen_BxSxD = jnp.take_along_axis(hidden_BxTxD, positions[:, :, None], axis=1)
        return network.token_logits(chosen_BxSxD)

    return apply


def init_params(
    config: NetworkConfig, *, key: int | jax.Array = 0, dtype: DTypeLike = jnp.float32
) -> dict[str, Any]:
    """Random parameters to train from scratch: scales 1, biases 0, all others N(0, 0.02^2).

    Args:
      config: A configuration of any family.
      key: Seed or key.
      dtype: Element type of the parameters; they are drawn in float32 and cast last.

    Returns:
      Nested dictionary of arrays, for `apply_function`.

    >>> config = BERT.config(vocab_size=8, hidden_size=4, num_hidden_layers=1,
    ...     num_attention_heads=2, intermediate_size=8)
    >>> ids = jnp.array([[1, 2, 3]])
    >>> apply_function(config)(init_params(config), ids, jnp.ones_like(ids)).shape
    (1, 2)
    """
    shapes = {path: leaf.shape for path, leaf in flatten_params(abstract_params(config)).items()}
    constant = {"scale": config.FRESH_SCALE, "bias": 0.0}
    flat = {
        path: np.full(shape, constant[path.rpartition("/")[2]], np.float32)
        for path, shape in shapes.items()
        if path.rpartition("/")[2] in constant
    }
    drawn = [path for path in shapes if path not in flat]
    stops = np.cumsum([math.prod(shapes[path]) for path in drawn])
    # One draw cut in pieces: a program for every shape takes seconds to compile.
    normal = nnx.initializers.normal(INIT_STD)
    noise = np.asarray(normal(nnx.Rngs(key).params(), (int(stops[-1]),), jnp.float32))
    for path, piece in zip(drawn, np.split(noise, stops[:-1]), strict=True):
        flat[path] = piece.reshape(shapes[path])
    return unflatten_params({path: jnp.asarray(flat[path], dtype) for path in shapes})


def default_label_names(config: NetworkConfig) -> tuple[str, ...]:
    """Hugging Face's names for labels without names."""
    return tuple(f"LABEL_{i}" for i in range(config.num_labels))


@functools.cache
def _abstract_network(config: NetworkConfig) -> tuple[Any, Any]:
    network = family_of(config).network
    return nnx.split(nnx.eval_shape(lambda: network(config, rngs=nnx.Rngs(0))))
