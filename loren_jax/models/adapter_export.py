"""Low-rank adapters as a directory that PEFT reads: what was trained, beside the base model.

PEFT names modules as torch does, one per layer, where a leaf of ours is the stack of all layers;
and it keeps `A` (r, fan_in) and `B` (fan_out, r), the transposes of our `down` and `up`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from loren_jax.checkpoints import TensorSource
from loren_jax.checkpoints.directory import ADAPTER_CONFIG, ADAPTER_WEIGHTS, write_files
from loren_jax.models.decoder import DecoderConfig
from loren_jax.models.families import family_of
from loren_jax.models.network import NetworkConfig
from loren_jax.models.tensor_names import stored_names
from loren_jax.models.weights import WeightRow, WeightTable, flatten_params
from loren_jax.quantised import as_dense

_DOWN, _UP = "/down", "/up"
_WRAPPER = "base_model.model."


class NoPlaceError(ValueError):
    """PEFT has no place for what was trained."""


def export_adapter(
    directory: str | Path,
    config: NetworkConfig,
    adapters: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    base: TensorSource,
    base_name: str,
    rank: int,
    alpha: float,
    overwrite: bool = False,
) -> Path:
    """Writes adapters as PEFT does: `adapter_config.json` and `adapter_model.safetensors`.

    What was trained in full goes with them, and what the base model does not have, as a new head:
    PEFT calls these modules `modules_to_save`.

    Args:
      directory: The directory to create, all or nothing.
      config: The model's configuration.
      adapters: As `loren_jax.lora.init` makes them.
      params: The model's parameters with the adapters merged.
      base: The tensors of the base model.
      base_name: Its name, for PEFT to find it by.
      rank: r.
      alpha: The adapters are scaled by `alpha / r`.
      overwrite: Whether an existing directory may be replaced.

    Returns:
      The directory.

    Raises:
      FileExistsError: If the directory is in use and `overwrite` is false.
      NoPlaceError: If PEFT cannot hold what was trained, as a bias of an adapted matrix.
    """
    table = family_of(config).weight_table(config)
    rows = {row.path: row for row in table.rows}
    flat = {path: np.asarray(leaf) for path, leaf in flatten_params(adapters).items()}
    adapted = [rows[path.removesuffix(_DOWN)] for path in flat if path.endswith(_DOWN)]
    whole = [rows[path] for path in flat if path in rows]
    modules = _modules_of(table, params)
    tensors, targets = {}, set()
    for row in adapted:
        if not row.path.endswith("/kernel"):
            raise NoPlaceError(f"{row.path}, whose adapter PEFT keeps otherwise")
        parts = {"lora_A": flat[row.path + _DOWN], "lora_B": flat[row.path + _UP]}
        for part, stack in parts.items():
            for module, own in _by_module(row, stack):
                # The writer takes the memory as it lies.
                tensors[f"{_WRAPPER}{module}.{part}.weight"] = np.ascontiguousarray(own.T)
                targets.add(module)
    saved = _saved_modules(table, modules, whole, _new_rows(table, base), targets)
    for module in saved:
        for name, tensor in _tensors_below(module, modules, params):
            tensors[_WRAPPER + name] = tensor
    settings = {
        "peft_type": "LORA",
        "task_type": _task_type(config),
        "base_model_name_or_path": base_name,
        "r": rank,
        "lora_alpha": int(alpha) if float(alpha).is_integer() else alpha,
        "lora_dropout": 0.0,
        "target_modules": _target_names(targets, modules),
        "modules_to_save": saved or None,
        # GPT-2 keeps its matrices as (fan_in, fan_out).
        "fan_in_fan_out": any(not row.transposed for row in adapted),
        "bias": "none",
        "inference_mode": True,
    }
    return write_files(
        Path(directory),
        tensors={ADAPTER_WEIGHTS: tensors},
        parsed={ADAPTER_CONFIG: settings},
        overwrite=overwrite,
    )


Modules = Mapping[str, list[tuple[str, WeightRow, int]]]
"""Module -> its tensors: name, row, and number of the layer."""


def _modules_of(table: WeightTable, params: Mapping[str, Any]) -> Modules:
    shapes = {path: leaf.shape for path, leaf in flatten_params(params).items()}
    found: dict[str, list[tuple[str, WeightRow, int]]] = {}
    for row in table.rows:
        for layer, name in enumerate(row.tensor_names(shapes[row.path])):
            found.setdefault(name.rpartition(".")[0], []).append((name, row, layer))
    return found


def _by_module(row: WeightRow, stack: np.ndarray) -> Iterable[tuple[str, np.ndarray]]:
    """Every module of a row with its part of a stack of layers."""
    layers = stack if row.stacked else stack[None]
    names = row.tensor_names(np.shape(stack))
    return zip((name.rpartition(".")[0] for name in names), layers, strict=True)


def _new_rows(table: WeightTable, base: TensorSource) -> list[WeightRow]:
    """The rows that the base model has nothing for, and all of a head."""
    present = stored_names(base, table)
    head = lambda row: bool(table.head) and row.path.startswith(f"{table.head}/")
    return [row for row in table.rows if head(row) or row.first_name not in present]


def _saved_modules(
    table: WeightTable,
    modules: Modules,
    whole: list[WeightRow],
    new: list[WeightRow],
    targets: set[str],
) -> list[str]:
    """Modules that are kept whole, of the head those that PEFT wraps by itself."""
    paths, heads = {row.path for row in (*whole, *new)}, set(table.names_below(table.head))
    found: dict[str, None] = {}
    for module, tensors in modules.items():
        kept = [name for name, row, _ in tensors if row.path in paths]
        if not kept:
            continue
        # PEFT takes RoBERTa's whole head by its first name.
        top = module.partition(".")[0] if tensors[0][0] in heads else module
        below = [name for name in modules if f"{name}.".startswith(f"{top}.")]
        if targets & set(below) or (top == module and below != [module]):
            raise NoPlaceError(f"{kept[0]}, as PEFT saves and adapts whole modules")
        found[top] = None
    return list(found)


def _tensors_below(
    module: str, modules: Modules, params: Mapping[str, Any]
) -> Iterable[tuple[str, np.ndarray]]:
    flat = flatten_params(params)
    for own, tensors in modules.items():
        if f"{own}.".startswith(f"{module}."):
            for name, row, layer in tensors:
                whole = as_dense(flat[row.path])
                leaf = np.asarray(whole[layer] if row.stacked else whole)
                yield name, np.ascontiguousarray(leaf.T if row.transposed else leaf)


def _target_names(targets: set[str], modules: Modules) -> list[str]:
    """The shortest endings, without a layer, that are those of targets alone; else full names."""
    others = [f".{name}" for name in modules if name not in targets]
    found = set()
    for target in targets:
        words = re.split(r"\.\d+\.", target)[-1].split(".")
        endings = (".".join(words[i:]) for i in range(len(words) - 1, -1, -1))
        clear = lambda ending: not any(name.endswith(f".{ending}") for name in others)
        found.add(next(filter(clear, endings), target))
    return sorted(found)


def _task_type(config: NetworkConfig) -> str | None:
    """PEFT's word for the task; it has none for a masked language model."""
    if config.head == "classification":
        return "SEQ_CLS"
    return "CAUSAL_LM" if isinstance(config, DecoderConfig) else None
