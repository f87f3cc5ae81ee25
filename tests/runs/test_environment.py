"""What is said of the machine is true enough to be useful."""

import json

import jax
import numpy as np

from loren_jax.runs.environment import environment, peak_device_bytes, peak_resident_bytes


def test_versions_and_device():
    facts = json.loads(json.dumps(environment()))
    assert facts["versions"]["jax"] == jax.__version__
    assert "unknown" not in facts["versions"].values()
    assert facts["devices"] == jax.device_count()


def test_peak_memory_is_in_bytes():
    before = peak_resident_bytes()
    block = np.ones(2**27, np.int8)
    assert before is not None
    assert before > 2**26
    assert peak_resident_bytes() >= max(before, block.nbytes)


def test_a_cpu_tells_no_device_memory():
    if jax.default_backend() == "cpu":
        assert peak_device_bytes() is None
