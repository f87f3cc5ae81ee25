"""JSON files of a checkpoint."""

import json
from pathlib import Path
from typing import Any

CONFIG = "config.json"


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
