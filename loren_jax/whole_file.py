"""Files that appear whole or not at all, whatever ends the process or the machine meanwhile."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def whole_file(path: Path, mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """A file to write to, which takes its name when the block is left without an error.

    Args:
      path: The file; one that is there is replaced.
      mode: `"w"` for text in UTF-8, or `"wb"`.
      **options: Of `open`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(Path(folder, "words.txt")) as file:
    ...         early = list(Path(folder).glob("*.txt"))
    ...         _ = file.write("all of it")
    ...     print(early, Path(folder, "words.txt").read_text())
    [] all of it
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")  # several processes may write one name
    text = {} if "b" in mode else {"encoding": "utf-8"}
    try:
        with draft.open(mode, **text | options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # before the name, which a crash of the machine may keep alone
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
