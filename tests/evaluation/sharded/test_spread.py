"""Steps on many devices are those of one, and send nothing but losses."""

import jax
import pytest
from eight_devices import found
from mesh_checks.steps import OTHERS

import loren_jax
from loren_jax.evaluation import sharded

QUICK = ("steps", "noise", "traffic")
# One process for all that is slow: each takes its time to start.
SLOW = ("more_traffic", "packed_traffic", "methods", "more_steps", "explicit")
K = 4
# One worker, which runs the programs once.
pytestmark = pytest.mark.xdist_group("eight devices")


@pytest.mark.slow
def test_steps_are_those_of_one_device():
    own = found(*QUICK)["steps"]["2x2x2"]
    assert own["losses"] < 1e-5
    assert own["params"] < 1e-3
    assert own["compiled"] == 1


@pytest.mark.slow
def test_noise_is_the_same_bits_on_every_mesh():
    rows = found(*QUICK)["noise"]
    assert set(rows) == {"1x1x1", "1x1x2", "2x1x2", "1x1x8"}
    for row in rows.values():
        assert row["equal"]
        assert all(0.8 < spread < 1.2 for spread in row["spread"])


@pytest.mark.slow
def test_no_device_draws_for_another():
    assert [row["sent"] for row in found(*QUICK)["noise"].values()] == [0, 0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize(("size", "parameters"), [("1M", 1 << 20), ("25M", 25_000_000)])
def test_population_and_data_send_scalars_alone(size, parameters):
    own = found(*QUICK)["traffic"][size]
    assert own["parameters"] >= parameters
    assert 0 < own["sent"] <= 64 * K + 1024
    assert own["absorb"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "checks", "check"),
    [
        ("loren rank 1", QUICK, "traffic"),
        ("mezo", SLOW, "more_traffic"),
        ("hizoo", SLOW, "more_traffic"),
    ],
)
def test_the_model_axis_sends_what_forward_passes_do(name, checks, check):
    own = found(*checks)[check][f"model, {name}"]
    assert own["forward"] > 0
    # Two directions have four points in MeZO, and four and the centre in HiZOO.
    passes = 5 if name == "hizoo" else 4
    assert own["sent"] <= passes * own["forward"] + 64 * K + 1024
    assert own["absorb"] == 0


@pytest.mark.slow
def test_no_code_of_a_divided_matrix_is_sent():
    """Each group of devices evaluates two of the four directions."""
    own = found(*SLOW)["packed_traffic"]
    assert own["forward"] > 0
    assert own["sent"] <= 2 * own["forward"] + 64 * K + 1024


@pytest.mark.slow
def test_a_micro_batch_too_is_shared_by_all():
    """Each device takes its part of every one, so that scalars alone are sent."""
    own = found(*SLOW)["more_traffic"]["micro-batches"]
    assert 0 < own["sent"] <= 64 * K + 1024


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_methods_step_as_on_one_device(name):
    own = found(*SLOW)["methods"][name]["2x2x2"]
    assert own["losses"] < 2e-5
    assert own["params"] < 2e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["loren", "hizoo", "mezo", "uneven", "materialised", "lora", "bfloat16"]
)
def test_every_kind_of_step_is_that_of_one_device(name):
    wide = name != "bfloat16"
    for own in found(*SLOW)["more_steps"][name].values():
        assert own["losses"] < (2e-5 if wide else 2e-2)
        assert own["params"] < (2e-3 if wide else 0.2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Explicit", "Auto", "probe and absorb"])
def test_explicit_axes_and_a_mesh_set_for_all(kind):
    own = found(*SLOW)["explicit"]
    assert own[kind] < 1e-5
    assert own["type"] == "float32[2,32,64@model]"


@pytest.fixture
def mesh():
    return jax.make_mesh((1,), ("population",), axis_types=(jax.sharding.AxisType.Auto,))


def test_axes_are_the_meshs_and_have_one_purpose(mesh):
    with pytest.raises(ValueError, match=r"data names the axis 'batch', but the mesh has"):
        sharded(mesh, data="batch")
    with pytest.raises(ValueError, match="both name the mesh axis 'population'"):
        sharded(mesh, population="population", data="population")


@pytest.mark.slow
def test_one_device_is_a_mesh_too(mesh):
    evaluation = sharded(mesh, population="population")
    optimizers = [loren_jax.mezo(0.1, evaluation=e) for e in (None, evaluation)]
    params = jax.numpy.arange(3.0)
    states = [optimizer.init(params) for optimizer in optimizers]
    loss = lambda params: jax.numpy.sum(params**2)
    updates = [
        optimizer.update(None, state, params, value_fn=loss)[0]
        for optimizer, state in zip(optimizers, states, strict=True)
    ]
    assert jax.numpy.allclose(*updates)
