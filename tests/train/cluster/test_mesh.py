"""Runs on a mesh of eight devices of one process."""

import pytest
from eight_devices import found

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("eight devices")]


def test_a_run_on_a_mesh_is_that_of_one_device():
    run = found("trained", "reading")["trained"]
    assert run["losses"] < 2e-5
    assert run["same scores"]
