"""How tests start the scripts of the examples."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]


def environment(compiled=None):
    """Of a script: compiled as users compile it, as it computes for longer than it compiles; it
    finds the package in its source, and in a folder what another process has compiled.
    """
    own = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    if compiled is not None:
        own["JAX_COMPILATION_CACHE_DIR"] = str(compiled)
        own["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    return own | {"PYTHONPATH": str(ROOT)}
