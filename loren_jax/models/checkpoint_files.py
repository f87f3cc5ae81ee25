"""A checkpoint directory on disk: safetensors read lazily, a whole directory written at once.

Reading touches one tensor at a time, so that a large checkpoint is never in memory twice. Writing
goes to a sibling directory that is renamed when it is complete, so that no reader ever sees half of
a checkpoint, and an interrupted export leaves the old one alone.
"""

import json
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)


class SafetensorsDirectory:
    """The tensors of a Hugging Face directory, in one file or in shards.

    Args:
        directory: Where ``model.safetensors`` or its index lies.

    Attributes:
        name: The directory, for errors.

    Raises:
        FileNotFoundError: If there are no safetensors, or a shard is absent.
        ValueError: If a file is truncated or damaged.
    """

    def __init__(self, directory: Path):
        self.name = str(directory)
        self._files = {}
        for path in _weight_files(directory):
            file = _open(path)
            self._files.update(dict.fromkeys(file.keys(), file))

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor, from the header alone."""
        return tuple(self._files[name].get_slice(name).get_shape())

    def dtype(self, name: str) -> str:
        """Element type of one tensor, for example ``BF16``."""
        return self._files[name].get_slice(name).get_dtype()

    def read(self, name: str) -> np.ndarray:
        """One tensor."""
        return self._files[name].get_tensor(name)


def _weight_files(directory: Path) -> list[Path]:
    if (directory / WEIGHTS).is_file():
        return [directory / WEIGHTS]
    if not (directory / INDEX).is_file():
        raise FileNotFoundError(
            f"{directory} has neither {WEIGHTS} nor {INDEX}; a pytorch_model.bin must first be "
            "converted, with save_pretrained of a current transformers"
        )
    shards = sorted(set(read_json(directory / INDEX).get("weight_map", {}).values()))
    return [directory / shard for shard in shards]


def _open(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is listed in {INDEX} but absent; fetch the model again")
    try:
        return safe_open(path, "numpy")
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged or incomplete ({error}); delete it and fetch the model again"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Parses a JSON file that must hold an object.

    Args:
        path: The file.

    Returns:
        The object.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, or no object.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; is its directory a Hugging Face model?")
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no valid JSON ({error}); fetch the model again") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"{path} must hold a JSON object, not a {type(parsed).__name__}")
    return parsed


def write_directory(
    directory: Path,
    *,
    tensors: Mapping[str, np.ndarray],
    config: Mapping[str, Any],
    copied: Iterable[Path] = (),
    texts: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a checkpoint directory, all or nothing.

    Args:
        directory: The directory to create.
        tensors: Contiguous arrays for ``model.safetensors``.
        config: Content of ``config.json``.
        copied: Files that are copied under their own names.
        texts: File name -> content of further files.
        overwrite: Whether an existing directory may be replaced.

    Returns:
        The directory.

    Raises:
        FileExistsError: If the directory is in use and ``overwrite`` is false.
    """
    directory = directory.absolute()
    if directory.exists() and not overwrite and (directory.is_file() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} exists; name a new directory or pass overwrite=True")
    directory.parent.mkdir(parents=True, exist_ok=True)
    draft = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        # Stock transformers refuses files without this mark of who laid out the tensors.
        save_file(dict(tensors), draft / WEIGHTS, metadata={"format": "pt"})
        for name, text in {CONFIG: json.dumps(config, indent=2) + "\n", **(texts or {})}.items():
            (draft / name).write_text(text, encoding="utf-8")
        for path in copied:
            shutil.copyfile(path, draft / path.name)
        _replace(draft, directory)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return directory


def _replace(draft: Path, directory: Path) -> None:
    """Moves the draft into place; the old directory stays complete until the new one is there."""
    if not directory.exists():
        draft.rename(directory)
        return
    old = draft.with_name(f"{draft.name}.old")
    directory.rename(old)
    try:
        draft.rename(directory)
    except OSError:
        old.rename(directory)
        raise
    shutil.rmtree(old)
