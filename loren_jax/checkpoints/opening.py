"""Which file of a path is the checkpoint, of what format, and what it says of itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from loren_jax.checkpoints.absence import explain_absence
from loren_jax.checkpoints.directory import CONFIG, WEIGHTS, read_json, refuse_pointer
from loren_jax.checkpoints.gguf import MAGIC as GGUF_MAGIC
from loren_jax.checkpoints.gguf import GGUFFile, gguf_config, read_gguf_header
from loren_jax.checkpoints.source import JoinedShards, SafetensorsFile, TensorSource
from loren_jax.checkpoints.torch_file import LEGACY_MAGICS, ZIP_MAGIC, TorchFile


class Weights(NamedTuple):
    """Where the weights of a model lie: a file or the index of shards, and what opens each file."""

    reader: Callable[[Path], TensorSource]
    path: Path


_INDEX_ENDING = ".index.json"
# Safetensors before pickles, one file before shards.
_WEIGHT_NAMES = {
    WEIGHTS: SafetensorsFile,
    f"{WEIGHTS}{_INDEX_ENDING}": SafetensorsFile,
    "pytorch_model.bin": TorchFile,
    f"pytorch_model.bin{_INDEX_ENDING}": TorchFile,
}


def locate_weights(path: Path) -> Weights:
    """Finds the weights of a model.

    In a directory Hugging Face's own names come first, then a single `*.gguf`. What is absent is
    a `FileNotFoundError`; several models, or a file of no known format, are a `ValueError`.
    """
    if path.is_file():
        return Weights(_reader_of(path), path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist; name a model's directory or file")
    for name, reader in _WEIGHT_NAMES.items():
        if (path / name).is_file():
            return Weights(reader, path / name)
    found = sorted(path.glob("*.gguf"))
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ValueError(f"{path} has {len(found)} models ({names}); name one of them")
    if not found:
        raise explain_absence(path, f"{path} has none of {list(_WEIGHT_NAMES)} and no *.gguf")
    return Weights(GGUFFile, found[0])


def open_checkpoint(path: str | Path) -> TensorSource:
    """Opens the tensors of a model, whatever its format, without reading any.

    Args:
      path: A directory with `model.safetensors` or `pytorch_model.bin` (or shards and their
        index), or a file: safetensors, `torch.save` or GGUF.

    Returns:
      The tensors, under Hugging Face's names and in its layout.

    Raises:
      FileNotFoundError: If there are no weights, or a shard is absent.
      ImportError: If a GGUF is quantised and the package `gguf` is absent.
      ValueError: If a file is damaged, or holds anything but tensors.
    """
    weights = locate_weights(Path(path))
    refuse_pointer(weights.path)
    if weights.path.name.endswith(_INDEX_ENDING):
        return _join(weights)
    return weights.reader(weights.path)


def checkpoint_config(path: str | Path) -> dict[str, Any]:
    """What `config.json` says of a model; of a GGUF, what it would say.

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
        if not path.is_dir():
            raise
        # Of a directory without anything, what is missing first is its config.json.
        config = path / CONFIG
        wanted = f"{config} does not exist; is its directory a Hugging Face model?"
        raise explain_absence(path, wanted) from None
    if weights.reader is GGUFFile:
        return gguf_config(read_gguf_header(weights.path))
    return read_json(weights.path.parent / CONFIG)


def _reader_of(path: Path) -> Callable[[Path], TensorSource]:
    refuse_pointer(path)
    with path.open("rb") as file:
        start = file.read(16)
    if path.name.endswith(_INDEX_ENDING):
        return TorchFile if ".bin." in path.name else SafetensorsFile
    if path.suffix == ".safetensors":
        return SafetensorsFile
    if start.startswith(GGUF_MAGIC):
        return GGUFFile
    if start.startswith((ZIP_MAGIC, *LEGACY_MAGICS)):
        return TorchFile
    raise ValueError(
        f"{path} is of no known format: safetensors, torch.save or GGUF; a model of llama2.c "
        "becomes a directory by benchmarks/llama2c.py"
    )


def _join(weights: Weights) -> TensorSource:
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
        refuse_pointer(directory / file)
    shards = [weights.reader(directory / file) for file in files]
    joined = JoinedShards(str(directory), shards)
    joined.require(weights.path, weight_map)
    return joined
