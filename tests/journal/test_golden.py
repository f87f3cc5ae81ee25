"""An old journal on whatever this is: versions and processors change, the model does not."""

import json

import numpy as np
from journal import golden

from loren_jax import journal


def test_the_golden_journal_replays_within_the_stated_tolerance():
    """Written with jax 0.10.2 on x86; the tolerance is a share of the distance moved."""
    again = journal.replay(golden.START, golden.FILE)
    assert again.steps == golden.STEPS
    found, expected = golden.samples(again.params), json.loads(golden.EXPECTED.read_text())
    for name, wanted in expected.items():
        assert wanted["moved"] > 1e-4
        np.testing.assert_allclose(found[name]["moved"], wanted["moved"], rtol=journal.TOLERANCE)
        size = golden.START[name].size
        typical = wanted["moved"] / np.sqrt(size)  # of one number
        error = np.subtract(found[name]["samples"], wanted["samples"])
        # Two roundings of numbers around one, at most, however little they have moved.
        assert np.abs(error).max() <= journal.TOLERANCE * typical * 10 + 2.5e-7
