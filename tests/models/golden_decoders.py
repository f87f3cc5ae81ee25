"""Writes the golden logits of a family of decoders, as transformers computes them.

    python tests/models/golden_decoders.py FAMILY ...

Needs torch (`pip install 'loren-jax[oracle]'`); seven digits of each number are kept.
"""

import json
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent


def golden(family):
    """Logits of every case, with those of padding zero."""
    from models.decoder_cases import CASES
    from models.tiny_checkpoints import TinyDecoder, decoder_batch, read_only

    ids, mask = decoder_batch()
    return {
        case: read_only(TinyDecoder(family, head, **changes).torch(ids, mask), mask)
        for (own, case), (head, changes) in CASES.items()
        if own == family
    }


def write(family):
    number = lambda x: float(np.format_float_positional(x, precision=7, fractional=False))
    numbers = lambda x: [numbers(y) for y in x] if x.ndim else number(x)
    lines = [
        f"{json.dumps(case)}: {json.dumps(numbers(logits), separators=(',', ':'))}"
        for case, logits in golden(family).items()
    ]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (FOLDER / f"golden_{family}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(FOLDER.parent))
    for name in sys.argv[1:]:
        write(name)
