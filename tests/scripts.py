"""How tests start the scripts of the examples."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]


def environment():
    """Of a script: compiled as users compile it, as it computes for longer than it compiles; it
    finds the package in its source.
    """
    own = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return own | {"PYTHONPATH": str(ROOT)}
