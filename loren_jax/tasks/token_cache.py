"""Token arrays kept on disk, so that the next run on the same texts need not tokenise them again.

The name of a file is a digest of everything that the arrays depend on, so an entry is never wrong,
only absent. What cannot be read is made again; what cannot be written is done without.
"""

import hashlib
import json
import os
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32

# Goes up whenever the same key gives other arrays.
_FORMAT = 1
_PACKAGES = ("transformers", "tokenizers")
_TOKENIZER_FILES = ("*.json", "*.txt", "*.model")
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class TokenArrays(NamedTuple):
    """Tokenised texts.

    Attributes:
        input_ids: int32 array [N, T].
        attention_mask: int32 array [N, T].
        token_type_ids: int32 array [N, T].
    """

    input_ids: Int32[np.ndarray, "examples length"]
    attention_mask: Int32[np.ndarray, "examples length"]
    token_type_ids: Int32[np.ndarray, "examples length"]


class TokenCache:
    """Token arrays of one tokenizer under a directory.

    Args:
        directory: where they are kept; made when it is needed.
        tokenizer: what tells the tokenizer from others, such as `tokenizer_digest`.
    """

    def __init__(self, directory: Path, tokenizer: str):
        self._directory, self._tokenizer = directory, tokenizer

    def path(self, key: Mapping[str, Any]) -> Path:
        """Return the file of a key: what the arrays depend on beside tokenizer and versions."""
        versions = {package: metadata.version(package) for package in _PACKAGES}
        content = json.dumps([_FORMAT, versions, self._tokenizer, key], sort_keys=True)
        return self._directory / f"{hashlib.sha256(content.encode()).hexdigest()}.npz"

    def read(self, key: Mapping[str, Any]) -> TokenArrays | None:
        """Return what is kept under a key.

        Args:
            key: JSON values; `texts` are the N texts.

        Returns:
            The arrays, or `None` where nothing is kept or it is damaged.
        """
        try:
            # Opened here: numpy leaves a file that is no archive open.
            with (
                self.path(key).open("rb") as file,
                np.load(file, allow_pickle=False) as stored,
            ):
                arrays = TokenArrays(*(stored[name] for name in TokenArrays._fields))
        except _UNREADABLE:
            return None
        shapes = {array.shape for array in arrays}
        fits = len(shapes) == 1 and arrays.input_ids.shape[0] == len(key["texts"])
        return arrays if fits else None

    def write(self, key: Mapping[str, Any], arrays: TokenArrays) -> None:
        """Keep arrays under a key, all or nothing.

        Args:
            key: as for `read`.
            arrays: what to keep. A directory that cannot be written to is reported, no more.
        """
        path = self.path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent, prefix="writing-") as temporary:
                draft = Path(temporary) / path.name
                np.savez_compressed(draft, **arrays._asdict())
                os.replace(draft, path)
        except OSError as error:
            print(
                f"the tokens are not kept: {error}; set LOREN_JAX_CACHE to a folder of your own",
                file=sys.stderr,
            )


def tokenizer_digest(path: Path) -> str:
    """Return a digest of all that the tokenizer of a folder, or of a model's file, depends on.

    Args:
        path: The folder or the file.

    Returns:
        SHA-256 in hexadecimal.
    """
    from loren_jax.checkpoints import tokenizer_files

    contents = tokenizer_files(path)
    for pattern in _TOKENIZER_FILES:
        contents |= {file.name: file.read_bytes() for file in path.glob(pattern)}
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()
