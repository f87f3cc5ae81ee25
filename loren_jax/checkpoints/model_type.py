"""What kind of model a parsed `config.json` describes."""

import re
from collections.abc import Mapping
from typing import Any

_CLASS = re.compile(r"([A-Za-z0-9]+?)(?:For[A-Z]\w*|Model|LMHead\w*|DoubleHeads\w*)?")


def described_type(raw: Mapping[str, Any]) -> str | None:
    """The model's type: as it is told, or else by the names of its classes; None if neither tells.

    >>> described_type({"architectures": ["GPT2LMHeadModel"]})
    'gpt2'
    >>> described_type({"architectures": ["BertForMaskedLM"], "model_type": "roberta"})
    'roberta'
    """
    if told := raw.get("model_type"):
        return str(told)
    matches = (_CLASS.fullmatch(str(name)) for name in raw.get("architectures") or ())
    return next((match[1].lower() for match in matches if match), None)
