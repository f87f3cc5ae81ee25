"""The families of networks that a checkpoint can belong to, and the form they share.

The rest of the library sees one form only: a pure function of a nested dictionary of arrays. A new
family adds a configuration, a network and a weight table, and one entry to ``FAMILIES``.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from loren_jax.models.bert import BertClassifier, bert_weight_table
from loren_jax.models.bert_config import BertConfig
from loren_jax.models.weights import WeightTable, flatten_params, unflatten_params


class Export(NamedTuple):
    """How stock transformers is told about an exported model.

    Attributes:
        architecture: Name of the torch class.
        source: Data file beside this module that holds the class, if transformers does not.
    """

    architecture: str
    source: str | None = None

    @property
    def module(self) -> str:
        """Name of the Python module that ``source`` is written as."""
        return (self.source or "").removesuffix(".py.txt")


class Family(NamedTuple):
    """What the library knows of one ``model_type``.

    Attributes:
        config: Frozen dataclass with a ``from_hugging_face`` constructor.
        network: Module class, called as ``network(config, rngs=...)``.
        weight_table: Configuration -> weight table.
        exports: Pooling -> the torch class that computes the same.
    """

    config: type
    network: Callable[..., nnx.Module]
    weight_table: Callable[[Any], WeightTable]
    exports: Mapping[str, Export]


FAMILIES: Mapping[str, Family] = {
    "bert": Family(
        config=BertConfig,
        network=BertClassifier,
        weight_table=bert_weight_table,
        exports={
            "cls": Export("BertForSequenceClassification"),
            "mean": Export("MeanPooledBertForSequenceClassification", "mean_pooled_bert.py.txt"),
        },
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


def abstract_params(config: Any) -> dict[str, Any]:
    """Shapes of the parameters, without computing any.

    Args:
        config: A configuration of any family.

    Returns:
        Nested dictionary of ``jax.ShapeDtypeStruct``.
    """
    return nnx.to_pure_dict(_abstract_network(config)[1])


def bind(config: Any, params: Mapping[str, Any]) -> Any:
    """The network as a Flax NNX module that holds these parameters.

    Args:
        config: A configuration of any family.
        params: Nested dictionary of arrays.

    Returns:
        The module, for what ``apply`` does not give, such as hidden states.
    """
    return nnx.merge(_abstract_network(config)[0], params)


@functools.cache
def apply_function(config: Any) -> Callable[..., jax.Array]:
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


def init_classifier(config: Any, *, key: Any = 0, dtype: Any = jnp.float32) -> Classifier:
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
    shapes = {path: leaf.shape for path, leaf in flatten_params(abstract_params(config)).items()}
    flat = {
        path: np.full(shape, float(path.endswith("/scale")), np.float32)
        for path, shape in shapes.items()
    }
    drawn = [path for path in shapes if path.endswith(("/kernel", "/embedding"))]
    stops = np.cumsum([math.prod(shapes[path]) for path in drawn])
    # One draw cut in pieces: a program for every shape takes seconds to compile.
    normal = nnx.initializers.normal(0.02)
    noise = np.asarray(normal(nnx.Rngs(key).params(), (int(stops[-1]),), jnp.float32))
    for path, piece in zip(drawn, np.split(noise, stops[:-1]), strict=True):
        flat[path] = piece.reshape(shapes[path])
    params = unflatten_params({path: jnp.asarray(leaf, dtype) for path, leaf in flat.items()})
    return Classifier(config, apply_function(config), params, default_label_names(config))


def default_label_names(config: Any) -> tuple[str, ...]:
    """Hugging Face's names for labels that nobody named."""
    return tuple(f"LABEL_{i}" for i in range(config.num_labels))


@functools.cache
def _abstract_network(config: Any) -> tuple[Any, Any]:
    network = family_of(config).network
    return nnx.split(nnx.eval_shape(lambda: network(config, rngs=nnx.Rngs(0))))
