"""A Hugging Face directory: its JSON files read, and the whole written, all or nothing.

Writing goes to a sibling directory that is renamed when it is complete, so that no reader ever sees
half of a checkpoint, and an interrupted export leaves the old one alone.
"""

import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

CONFIG = "config.json"
"""The file of a model directory that says which model it is."""
WEIGHTS = "model.safetensors"
# As PEFT names them.
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_POINTER = b"version https://git-lfs.github.com/spec/"


def refuse_pointer(path: Path) -> None:
    """Refuses what Git leaves in the place of a large file that was not fetched."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise ValueError(
                f"{path} is a Git LFS pointer and not the file itself; run `git lfs pull` in its "
                "directory, or fetch the model by huggingface_hub"
            )


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
    return _read(path, dict, "a JSON object")


def read_list(path: Path) -> list[Any]:
    """Parses a JSON file that must hold a list; see `read_json`."""
    return _read(path, list, "a JSON list")


def _read(path: Path, kind: type, called: str) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; is its directory a Hugging Face model?")
    refuse_pointer(path)
    try:
        parsed = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no valid JSON ({error}); fetch the model again") from error
    if not isinstance(parsed, kind):
        raise ValueError(f"{path} must hold {called}, not a {type(parsed).__name__}")
    return parsed


def write_directory(
    directory: Path,
    *,
    tensors: Mapping[str, np.ndarray],
    config: Mapping[str, Any],
    files: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a checkpoint directory, all or nothing.

    Args:
      directory: The directory to create.
      tensors: Contiguous arrays for `model.safetensors`.
      config: Content of `config.json`.
      files: File name -> content of further files, such as the tokenizer's; a name may have a
        folder before it.
      overwrite: Whether an existing directory may be replaced.

    Returns:
      The directory.

    Raises:
      FileExistsError: If the directory is in use and `overwrite` is false.
    """
    return write_files(
        directory,
        tensors={WEIGHTS: tensors},
        parsed={CONFIG: config},
        files=files,
        overwrite=overwrite,
    )


def write_files(
    directory: Path,
    *,
    tensors: Mapping[str, Mapping[str, np.ndarray]],
    parsed: Mapping[str, Mapping[str, Any]],
    files: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a directory of safetensors, JSON and other files by name, all or nothing.

    The other arguments and errors are those of `write_directory`.
    """
    directory = directory.absolute()
    if directory.exists() and not overwrite and (directory.is_file() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} exists; name a new directory or pass overwrite=True")
    directory.parent.mkdir(parents=True, exist_ok=True)
    draft = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        texts = {n: (json.dumps(v, indent=2) + "\n").encode() for n, v in parsed.items()}
        for name, content in {**texts, **(files or {})}.items():
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_bytes(content)
        mode = (draft / next(iter(texts))).stat().st_mode & 0o777
        for name, arrays in tensors.items():
            # Stock transformers refuses files without this mark of who laid out the tensors.
            save_file(dict(arrays), draft / name, metadata={"format": "pt"})
            # The library that writes them keeps them to their owner, whatever the umask says.
            (draft / name).chmod(mode)
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
