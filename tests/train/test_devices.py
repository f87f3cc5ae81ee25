"""What a user says of processes and devices."""

import pytest
from eight_devices import RUNS, found

from loren_jax.train.devices import AXES, Devices, DevicesConfig, mesh_sizes, require_devices


@pytest.mark.parametrize(
    "text", ["", "population", "population=0", "data=two", "rows=2", "data=2,data=2", "data=2,"]
)
def test_a_mesh_that_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError, match=r"mesh is .* cannot be read: give sizes of population"):
        mesh_sizes(text)
    with pytest.raises(ValueError, match="cannot be read"):
        DevicesConfig(mesh=text)


def test_a_mesh_takes_all_devices():
    require_devices({"population": 2, "data": 2, "model": 1}, 4)
    with pytest.raises(ValueError, match="takes 4 devices, but the processes of this run have 8"):
        require_devices({"population": 2, "data": 2, "model": 1}, 8)
    with pytest.raises(ValueError, match="takes 64 devices, but the processes of this run have"):
        Devices({"population": 64, "data": 1, "model": 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coordinator": "10.0.0.1:1"}, "process_id is missing"),
        ({"process_id": 0, "num_processes": 2}, "coordinator is missing"),
        ({"coordinator": "10.0.0.1", "process_id": 0, "num_processes": 2}, "give HOST:PORT"),
        ({"coordinator": "a:1", "process_id": 2, "num_processes": 2}, "count from 0 to 1"),
        ({"coordinator": "a:1", "process_id": -1, "num_processes": 2}, "process_id"),
        ({"num_processes": 0}, "num_processes"),
        ({"heartbeat_timeout": 0.0}, "heartbeat_timeout"),
    ],
)
def test_what_makes_no_group_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DevicesConfig(**options)


def test_who_joins():
    assert not DevicesConfig(mesh="data=2").joins
    assert DevicesConfig(distributed=True).joins
    assert DevicesConfig(distributed=True, num_processes=2).joins
    assert DevicesConfig(coordinator="a:1", process_id=1, num_processes=2).joins


@pytest.mark.slow
@pytest.mark.xdist_group("eight devices")
def test_a_run_on_a_mesh_is_that_of_one_device():
    """Adapters beside sharded weights; no rate; scales of divided matrices, and adapters."""
    own = found(*RUNS)
    assert own["trained"]["losses"] < 2e-5
    assert own["trained"]["same scores"]
    assert own["paced"]["walk"] < 1e-3
    assert own["paced"]["losses"] < 1e-4
    assert own["packed"]["scales"] < 1e-4  # rounding of a loss, over the perturbation
    assert own["packed"]["adapters"] < 2e-5


def test_axes_that_are_left_out_have_one_device_and_others_are_named():
    assert dict(Devices({"data": 1}).evaluation.mesh.shape) == dict.fromkeys(AXES, 1)
    with pytest.raises(ValueError, match="mesh has the axis 'batch': give sizes of population"):
        Devices({"batch": 1})
