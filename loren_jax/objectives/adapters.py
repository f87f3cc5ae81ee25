"""What the optimiser of a run sees: the model's own parameters, or adapters beside frozen ones."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from loren_jax import lora
from loren_jax.directions.masked import matching
from loren_jax.models import Classifier, LanguageModel, family_of
from loren_jax.models.kernel_names import kernel_patterns
from loren_jax.models.low_bit import SCALES, Storage
from loren_jax.models.network import NetworkConfig
from loren_jax.noise import leaf_paths
from loren_jax.objectives.shared_config import ObjectiveConfig
from loren_jax.quantised import as_shapes
from loren_jax.quantised.matrix import is_frozen
from loren_jax.types import PyTree

HEAD = "head"
"""Stands for the patterns of a model's classification head, whatever its family calls it."""


class TrainableModel(NamedTuple):
    """What is trained: `apply(params, input_ids, attention_mask, token_type_ids, *frozen)`.

    `params` are what the optimiser is given, of which `mask` says by path which leaves are trained;
    `frozen` no step changes; `merge` gives the parameters of the model. The counts are of numbers.
    """

    params: PyTree
    apply: Callable[..., jax.Array]
    frozen: tuple[Any, ...]
    mask: Callable[[str], bool]
    merge: Callable[[PyTree], PyTree]
    trained_parameters: int
    parameters: int

    @property
    def trained_paths(self) -> list[str] | None:
        """Paths of the trained leaves; None if all are."""
        paths = leaf_paths(self.params)
        trained = [path for path in paths if self.mask(path)]
        return None if trained == paths else trained


def trainable_model(config: ObjectiveConfig, model: Classifier | LanguageModel) -> TrainableModel:
    """The model as a configuration trains it: its own parameters under a mask, or adapters.

    With `lora_rank`, these change nothing yet. A ValueError says where a pattern matches nothing,
    or a leaf that cannot be adapted.
    """
    total = _size(as_shapes(model.params))
    chosen = config.trainable
    if chosen is None and config.quantise is not None and config.lora_rank is None:
        chosen = (f"*/{SCALES}", *head_patterns(model.config))
    elif chosen is not None:
        chosen = _without_short_names(chosen, model.config)
    if config.lora_rank is None:
        mask = matching(chosen or ("*",), model.params, "trainable")
        if whole := [path for path in leaf_paths(model.params) if mask(path) and is_frozen(path)]:
            raise ValueError(
                f"trainable chooses {whole[0]}, a part of a quantised matrix that no step changes: "
                f"give '*/{SCALES}', or a pattern of the matrix itself"
            )
        return TrainableModel(
            params=model.params,
            apply=model.apply,
            frozen=(),
            mask=mask,
            merge=lambda params: params,
            trained_parameters=_size(model.params, mask),
            parameters=total,
        )
    merged = jax.jit(lambda params, adapters: lora.merge(params, adapters, scale=scale))
    scale = (config.lora_alpha or config.lora_rank) / config.lora_rank
    adapted, targets = lora.adapt(model.apply, scale=scale), _targets(config, model)
    try:
        adapters = lora.init(
            model.params,
            targets,
            rank=config.lora_rank,
            full=head_patterns(model.config) if chosen is None else chosen,
            key=config.seed,
        )
    except ValueError as error:  # by the names of the options
        told = str(error).replace("targets", "lora_targets", 1)
        raise ValueError(re.sub("^full", "trainable", told)) from error
    return TrainableModel(
        params=adapters,
        apply=lambda adapters, ids, mask, types, base: adapted(base, adapters, ids, mask, types),
        frozen=(model.params,),
        mask=lambda path: True,
        merge=lambda adapters: merged(model.params, adapters),
        trained_parameters=_size(adapters),
        parameters=total,
    )


def _targets(config: ObjectiveConfig, model: Classifier | LanguageModel) -> tuple[str, ...]:
    """Patterns of the matrices to adapt, of which the configuration may give short names."""
    try:
        paths = leaf_paths(as_shapes(model.params))
        return kernel_patterns(model.config, config.lora_targets, paths)
    except ValueError as error:
        raise ValueError(f"lora_targets: {error}") from None


def storage_of(config: ObjectiveConfig) -> Storage | None:
    """How a model is read that a configuration trains; None for floats."""
    if config.quantise is None:
        return None
    scales = () if config.lora_rank is not None else (f"*/{SCALES}",)
    chosen = scales if config.trainable is None else config.trainable
    return Storage(config.quantise, tuple(pattern for pattern in chosen if pattern != HEAD))


def _without_short_names(chosen: tuple[str, ...], network: NetworkConfig) -> tuple[str, ...]:
    """Patterns of paths alone."""
    if HEAD not in chosen:
        return chosen
    if not (head := head_patterns(network)):
        raise ValueError(
            f"trainable: {HEAD!r} is a classification head, which a language model has none of"
        )
    return (*head, *(pattern for pattern in chosen if pattern != HEAD))


def head_patterns(network: NetworkConfig) -> tuple[str, ...]:
    """Patterns of the classification head's parameters; none for a prompted model."""
    if network.head != "classification":
        return ()
    return (f"{family_of(network).weight_table(network).head}/*",)


def _size(params: PyTree, mask: Callable[[str], bool] = lambda path: True) -> int:
    """How many numbers the leaves hold that a mask of their paths chooses."""
    leaves = zip(leaf_paths(params), jax.tree.leaves(params), strict=True)
    return sum(leaf.size for path, leaf in leaves if mask(path))
