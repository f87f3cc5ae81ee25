"""The quickstart's models and reviews, by its own script, `examples/quickstart/fetch.py`."""

import importlib.util
from pathlib import Path

_SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "quickstart" / "fetch.py"
_spec = importlib.util.spec_from_file_location("fetch", _SCRIPT)
assert _spec is not None
assert _spec.loader is not None
_fetch = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fetch)

RUNS: Path = _fetch.RUNS
minilm, smollm2, reviews = _fetch.minilm, _fetch.smollm2, _fetch.reviews
