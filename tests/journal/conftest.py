"""A journal of three steps, for tests of the file itself."""

import numpy as np
import pytest

from loren_jax import journal

LOSSES = np.random.default_rng(0).normal(size=(3, 2, 1)).astype(np.float32)


@pytest.fixture
def losses():
    return LOSSES


@pytest.fixture
def header():
    return {"losses": [2, 1], "run": {"name": "test"}}


@pytest.fixture
def file(tmp_path, header):
    """The file with all three steps."""
    path = tmp_path / "run.journal"
    with journal.create(path, header) as log:
        for step, losses in enumerate(LOSSES):
            log.append(step, losses)
    return path
