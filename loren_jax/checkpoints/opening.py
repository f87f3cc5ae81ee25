"""Which file of a path is the checkpoint, of what format, and what it says of itself."""

import enum
from pathlib import Path
from typing import Any, NamedTuple

from loren_jax.checkpoints.gguf_config import gguf_config
from loren_jax.checkpoints.gguf_file import GGUFFile
from loren_jax.checkpoints.gguf_header import MAGIC as GGUF_MAGIC
from loren_jax.checkpoints.gguf_header import read_gguf_header
from loren_jax.checkpoints.json_files import CONFIG, read_json
from loren_jax.checkpoints.llama2c_file import (
    Llama2cFile,
    is_llama2c,
    llama2c_config,
    read_llama2c_header,
)
from loren_jax.checkpoints.safetensors_files import SafetensorsFile
from loren_jax.checkpoints.source import JoinedShards, TensorSource
from loren_jax.checkpoints.torch_file import LEGACY_MAGICS, ZIP_MAGIC, TorchFile


class Format(enum.Enum):
    """A format of weights."""

    SAFETENSORS = enum.auto()
    TORCH = enum.auto()
    GGUF = enum.auto()
    LLAMA2C = enum.auto()


class Weights(NamedTuple):
    """Where the weights of a model lie.

    Attributes:
        format: Format of the file, or of each shard.
        path: The file, or the index of shards.
    """

    format: Format
    path: Path

    @property
    def is_whole(self) -> bool:
        """Whether the configuration and the tokenizer come with the weights."""
        return self.format in (Format.GGUF, Format.LLAMA2C)


_SOURCES = {
    Format.SAFETENSORS: SafetensorsFile,
    Format.TORCH: TorchFile,
    Format.GGUF: GGUFFile,
    Format.LLAMA2C: Llama2cFile,
}
_INDEX_ENDING = ".index.json"
# Safetensors before pickles, one file before shards.
_WEIGHT_NAMES = {
    "model.safetensors": Format.SAFETENSORS,
    f"model.safetensors{_INDEX_ENDING}": Format.SAFETENSORS,
    "pytorch_model.bin": Format.TORCH,
    f"pytorch_model.bin{_INDEX_ENDING}": Format.TORCH,
}


def locate_weights(path: Path) -> Weights:
    """Finds the weights of a model.

    Args:
        path: A directory or a file.

    Returns:
        Format and place. In a directory, Hugging Face's own names come first, then a single
        ``*.gguf``, then a single llama2.c ``*.bin``.

    Raises:
        FileNotFoundError: If there is nothing there.
        ValueError: If a directory has several models, or a file is of no known format.
    """
    if path.is_file():
        return Weights(_format_of(path), path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist; name a model's directory or file")
    for name, kind in _WEIGHT_NAMES.items():
        if (path / name).is_file():
            return Weights(kind, path / name)
    ggufs = [Weights(Format.GGUF, file) for file in path.glob("*.gguf")]
    llama2cs = [Weights(Format.LLAMA2C, file) for file in path.glob("*.bin") if is_llama2c(file)]
    if len(whole := ggufs or llama2cs) > 1:
        names = sorted(weights.path.name for weights in whole)
        raise ValueError(f"{path} has {len(whole)} models ({', '.join(names)}); name one of them")
    if whole:
        return whole[0]
    raise FileNotFoundError(
        f"{path} has none of {list(_WEIGHT_NAMES)}, no *.gguf and no llama2.c *.bin"
    )


def open_checkpoint(path: str | Path) -> TensorSource:
    """Opens the tensors of a model, whatever its format, without reading any.

    Args:
        path: A directory with ``model.safetensors`` or ``pytorch_model.bin`` (or shards and their
            index), or a file: safetensors, ``torch.save``, GGUF or llama2.c.

    Returns:
        The tensors, under Hugging Face's names and in its layout.

    Raises:
        FileNotFoundError: If there are no weights, or a shard is absent.
        ImportError: If a GGUF is quantised and the package ``gguf`` is absent.
        ValueError: If a file is damaged, or holds anything but tensors.
    """
    weights = locate_weights(Path(path))
    if weights.path.name.endswith(_INDEX_ENDING):
        return _joined(weights)
    return _SOURCES[weights.format](weights.path)


def checkpoint_config(path: str | Path) -> dict[str, Any]:
    """What ``config.json`` says of a model; of a GGUF or llama2.c file, what it would say.

    Args:
        path: A directory or a file.

    Returns:
        The configuration, as Hugging Face spells it.

    Raises:
        FileNotFoundError: If there is no configuration.
        ValueError: If it is damaged or not supported.
    """
    path = Path(path)
    if path.is_dir() and (path / CONFIG).is_file():
        return read_json(path / CONFIG)
    try:
        weights = locate_weights(path)
    except FileNotFoundError:
        # Of a directory without anything, what is missing first is its config.json.
        return read_json(path / CONFIG)
    if weights.format is Format.GGUF:
        return gguf_config(read_gguf_header(weights.path))
    if weights.format is Format.LLAMA2C:
        return llama2c_config(read_llama2c_header(weights.path))
    return read_json(weights.path.parent / CONFIG)


def _format_of(path: Path) -> Format:
    with path.open("rb") as file:
        start = file.read(16)
    if path.suffix == ".safetensors":
        return Format.SAFETENSORS
    if path.name.endswith(_INDEX_ENDING):
        return Format.TORCH if ".bin." in path.name else Format.SAFETENSORS
    if start.startswith(GGUF_MAGIC):
        return Format.GGUF
    if start.startswith((ZIP_MAGIC, *LEGACY_MAGICS)):
        return Format.TORCH
    if path.suffix == ".bin" or is_llama2c(path):
        return Format.LLAMA2C  # which says what is wrong with it
    raise ValueError(f"{path} is of no known format: safetensors, torch.save, GGUF or llama2.c")


def _joined(weights: Weights) -> TensorSource:
    weight_map = read_json(weights.path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{weights.path} has no 'weight_map'; fetch the model again")
    files = sorted(set(map(str, weight_map.values())))
    directory = weights.path.parent
    for file in files:
        if Path(file).name != file:
            raise ValueError(f"{weights.path} names {file!r}, which is no file of the directory")
        if not (directory / file).is_file():
            raise FileNotFoundError(
                f"{directory / file} is listed in {weights.path.name} but absent; fetch the model "
                "again"
            )
    shards = [_SOURCES[weights.format](directory / file) for file in files]
    joined = JoinedShards(str(directory), shards)
    joined.require(weights.path, weight_map)
    return joined
