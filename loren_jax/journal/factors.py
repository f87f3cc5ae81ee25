"""Fan-in vectors that a run's directions lie along: arrays, so they have a file of their own.

The journal's header holds their digest; `replay` reads the file that lies beside the journal.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from loren_jax.journal.records import JournalError
from loren_jax.whole_file import whole_file

FACTORS = "factors.npz"
"""Name of the file, in the directory of the journal."""


def digest(factors: Mapping[str, Any]) -> str:
    """SHA-256 of names, shapes and bits, in hexadecimal.

    >>> digest({"kernel": np.ones((2, 1))}) == digest({"kernel": np.ones((1, 2))})
    False
    """
    found = hashlib.sha256()
    for path in sorted(factors):
        array = np.ascontiguousarray(np.asarray(factors[path], np.float32))
        found.update(repr((path, array.shape)).encode())
        found.update(array.tobytes())
    return found.hexdigest()


def save(journal: Path, factors: Mapping[str, Any]) -> Path:
    """Writes the file beside a journal's, all or nothing, and returns its path.

    The journal need not exist yet; `factors` has fan-in vectors by the path of their leaf.
    """
    path = journal.parent / FACTORS
    # np.savez would take some names for its own.
    with whole_file(path, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in factors.items():
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, np.asarray(array, np.float32))
    return path


def load(journal: Path, wanted: str) -> dict[str, np.ndarray]:
    """Reads the file beside a journal's, if it has the digest that the journal's header holds.

    Raises:
      JournalError: the file is absent, damaged, or of another run.
    """
    path = journal.parent / FACTORS
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            factors = {name: stored[name] for name in stored.files}
    except FileNotFoundError as error:
        raise JournalError(
            f"{journal} is of a run whose directions lie along the inputs, and {path.name}, which "
            "holds them, is not beside it; copy it there from the run's directory"
        ) from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise JournalError(f"{path} is damaged ({error}); take a copy that is whole") from error
    if digest(factors) != wanted:
        raise JournalError(f"{path} is not of the run of {journal}: its digest is another")
    return factors
