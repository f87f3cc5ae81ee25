"""The families of networks that a checkpoint can belong to, and the form they share.

The rest of the library sees one form only: a pure function of a nested dictionary of arrays. A new
family adds a configuration, a network and a weight table, and one entry to ``FAMILIES``.
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

from loren_jax.models.bert import BertNetwork, bert_export, bert_weight_table
from loren_jax.models.bert_config import BertConfig
from loren_jax.models.distilbert import (
    DistilBertConfig,
    DistilBertNetwork,
    distilbert_export,
    distilbert_weight_table,
)
from loren_jax.models.export import Export
from loren_jax.models.gpt2 import GPT2Network, gpt2_export, gpt2_weight_table
from loren_jax.models.gpt2_config import GPT2Config
from loren_jax.models.layers import INIT_STD
from loren_jax.models.llama import LlamaNetwork, llama_export, llama_weight_table
from loren_jax.models.llama_config import LlamaConfig
from loren_jax.models.network_config import NetworkConfig
from loren_jax.models.opt import OPTNetwork, opt_export, opt_weight_table
from loren_jax.models.opt_config import OPTConfig
from loren_jax.models.roberta import (
    RobertaConfig,
    RobertaNetwork,
    roberta_export,
    roberta_weight_table,
)
from loren_jax.models.weights import WeightTable, flatten_params, unflatten_params


class Family(NamedTuple):
    """What the library knows of one ``model_type``.

    Every network has ``__call__`` and ``encode`` of (input_ids, attention_mask, token_type_ids),
    and ``choices``, which takes token ids besides.

    Attributes:
        config: The configuration's class, a ``NetworkConfig``.
        network: Module class, called as ``network(config, rngs=...)``.
        weight_table: Configuration -> weight table.
        export: Configuration -> the torch class that computes the same.
    """

    config: type[NetworkConfig]
    network: type
    weight_table: Callable[[Any], WeightTable]
    export: Callable[[Any], Export]


FAMILIES: Mapping[str, Family] = {
    "bert": Family(
        config=BertConfig,
        network=BertNetwork,
        weight_table=bert_weight_table,
        export=bert_export,
    ),
    "roberta": Family(
        config=RobertaConfig,
        network=RobertaNetwork,
        weight_table=roberta_weight_table,
        export=roberta_export,
    ),
    "distilbert": Family(
        config=DistilBertConfig,
        network=DistilBertNetwork,
        weight_table=distilbert_weight_table,
        export=distilbert_export,
    ),
    "gpt2": Family(
        config=GPT2Config,
        network=GPT2Network,
        weight_table=gpt2_weight_table,
        export=gpt2_export,
    ),
    "opt": Family(
        config=OPTConfig,
        network=OPTNetwork,
        weight_table=opt_weight_table,
        export=opt_export,
    ),
    "llama": Family(
        config=LlamaConfig,
        network=LlamaNetwork,
        weight_table=llama_weight_table,
        export=llama_export,
    ),
}


class Classifier(NamedTuple):
    """A text classifier as a pure function and its parameters.

    Attributes:
        config: The family's configuration.
        apply: ``apply(params, input_ids, attention_mask, token_type_ids=None) -> logits``, with
            (B, T) inputs and (B, C) logits; pure, for ``jax.jit`` and any other transformation.
        params: Nested dictionary of arrays.
        label_names: Names of the C classes.
    """

    config: Any
    apply: Callable[..., jax.Array]
    params: dict[str, Any]
    label_names: tuple[str, ...]


class LanguageModel(NamedTuple):
    """A causal or masked language model as a pure function and its parameters.

    Attributes:
        config: The family's configuration.
        apply: ``apply(params, input_ids, attention_mask, token_type_ids=None) -> logits``, with
            (B, T) inputs and (B, T, V) logits: of the next token in a causal model, of the token
            itself in a masked one.
        params: Nested dictionary of arrays.
    """

    config: Any
    apply: Callable[..., jax.Array]
    params: dict[str, Any]


def family_named(model_type: str) -> Family:
    """Looks a family up.

    Args:
        model_type: As ``config.json`` spells it.

    Returns:
        The family.

    Raises:
        ValueError: If the library has no such family.

    Example:
        >>> family_named("bert").config.__name__
        'BertConfig'
    """
    if model_type not in FAMILIES:
        raise ValueError(
            f"model_type={model_type!r} is not supported; the families are {sorted(FAMILIES)}"
        )
    return FAMILIES[model_type]


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


def abstract_params(config: NetworkConfig) -> dict[str, Any]:
    """Shapes of the parameters, without computing any.

    Args:
        config: A configuration of any family.

    Returns:
        Nested dictionary of ``jax.ShapeDtypeStruct``.
    """
    return nnx.to_pure_dict(_abstract_network(config)[1])


def bind(config: NetworkConfig, params: Mapping[str, Any]) -> Any:
    """The network as a Flax NNX module that holds these parameters.

    Args:
        config: A configuration of any family.
        params: Nested dictionary of arrays.

    Returns:
        The module, for what ``apply`` does not give, such as hidden states.
    """
    return nnx.merge(_abstract_network(config)[0], params)


@functools.cache
def apply_function(config: NetworkConfig) -> Callable[..., jax.Array]:
    """The network as a pure function of its parameters.

    Cached, so that equal configurations give the same function and a jitted caller compiles once.

    Args:
        config: A configuration of any family.

    Returns:
        ``apply(params, input_ids, attention_mask, token_type_ids=None) -> logits``.
    """

    def apply(params, input_ids, attention_mask, token_type_ids=None):
        return bind(config, params)(input_ids, attention_mask, token_type_ids)

    return apply


def choice_function(config: NetworkConfig, token_ids: Sequence[int]) -> Callable[..., jax.Array]:
    """A language model's logits of a few tokens at the place of the answer, as a pure function.

    Cached like ``apply_function``.

    Args:
        config: A configuration of any family, with the head of a language model.
        token_ids: The C tokens to choose from, each a number of the vocabulary.

    Returns:
        ``apply(params, input_ids, attention_mask, token_type_ids=None) -> logits`` (B, C).

    Raises:
        ValueError: If the configuration has no such head, the masked model no mask token, or the
            tokens are not different numbers of the vocabulary.

    Example:
        >>> config = BertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=1,
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


def init_params(
    config: NetworkConfig, *, key: int | jax.Array = 0, dtype: DTypeLike = jnp.float32
) -> dict[str, Any]:
    """Random parameters: scales one, biases zero, everything else N(0, 0.02^2).

    Args:
        config: A configuration of any family.
        key: Seed or key.
        dtype: Element type of the parameters; they are drawn in float32 and cast last.

    Returns:
        Nested dictionary of arrays.
    """
    shapes = {path: leaf.shape for path, leaf in flatten_params(abstract_params(config)).items()}
    constant = {"scale": 1.0, "bias": 0.0}
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


def init_classifier(
    config: NetworkConfig, *, key: int | jax.Array = 0, dtype: DTypeLike = jnp.float32
) -> Classifier:
    """A classifier with random parameters, for tests and for training from scratch.

    Args:
        config: A configuration of any family.
        key: Seed or key.
        dtype: Element type of the parameters.

    Returns:
        The classifier; its labels are called ``LABEL_0``, ``LABEL_1`` and so on.

    Example:
        >>> config = BertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=1,
        ...     num_attention_heads=2, intermediate_size=8)
        >>> model = init_classifier(config)
        >>> ids = jnp.array([[1, 2, 3]])
        >>> model.apply(model.params, ids, jnp.ones_like(ids)).shape
        (1, 2)
    """
    params = init_params(config, key=key, dtype=dtype)
    return Classifier(config, apply_function(config), params, default_label_names(config))


def init_language_model(
    config: NetworkConfig, *, key: int | jax.Array = 0, dtype: DTypeLike = jnp.float32
) -> LanguageModel:
    """A language model with random parameters.

    Args:
        config: A configuration of any family, with ``head="language_model"``.
        key: Seed or key.
        dtype: Element type of the parameters.

    Returns:
        The language model.
    """
    return LanguageModel(config, apply_function(config), init_params(config, key=key, dtype=dtype))


def default_label_names(config: NetworkConfig) -> tuple[str, ...]:
    """Hugging Face's names for labels that nobody named."""
    return tuple(f"LABEL_{i}" for i in range(config.num_labels))


@functools.cache
def _abstract_network(config: NetworkConfig) -> tuple[Any, Any]:
    network = family_of(config).network
    return nnx.split(nnx.eval_shape(lambda: network(config, rngs=nnx.Rngs(0))))
