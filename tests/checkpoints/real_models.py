"""Where real models lie that tests need and the project does not ship."""

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
