import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from loren_jax import directions, estimate, scale_by_loren, schemes
from loren_jax.diagnostics import Materialised, compare_with_gradient, materialised

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(5, 16)), jnp.float32)
KERNEL = jnp.asarray(RNG.normal(size=(16, 16)), jnp.float32)
IDS = jnp.asarray([0, 3, 7])


def test_reports_path_primitive_and_size_of_what_is_forced():
    params = {"block": {"kernel": KERNEL, "gate": jnp.ones((16, 12), jnp.bfloat16)}}
    loss = lambda p: jnp.sum(
        X @ p["block"]["kernel"] @ jnp.tanh(p["block"]["gate"].astype(jnp.float32))
    )
    assert materialised(loss, params) == [Materialised("block/gate", "tanh", 16 * 12 * 4)]


@pytest.mark.parametrize(
    "loss",
    [
        lambda p: jnp.sum(X @ p["embedding"]),
        lambda p: jnp.sum((p["embedding"].T @ X.T) * 0.5),
        lambda p: jnp.sum(p["embedding"][IDS] @ p["embedding"].T),  # a tied embedding
    ],
)
def test_reports_nothing_for_products_and_rows(loss):
    assert materialised(loss, {"embedding": KERNEL}) == []


def test_a_stack_in_a_scan_costs_one_layer():
    def loss(params):
        return jnp.sum(jax.lax.scan(lambda h, w: (h @ jnp.sin(w), None), X, params["w"])[0])

    stack = jnp.stack([KERNEL, KERNEL, KERNEL])
    assert materialised(loss, {"w": stack}) == [Materialised("w", "sin", KERNEL.nbytes)]


def test_reports_each_operation_once():
    loss = lambda p: jnp.sum(jnp.sin(p["w"]) + jnp.sin(p["w"]) + jnp.cos(p["w"]))
    found = materialised(loss, {"w": KERNEL})
    assert [leaf.primitive for leaf in found] == ["sin", "cos"]


def test_shapes_are_enough_and_directions_decide():
    params = {"w": jax.ShapeDtypeStruct((4096, 4096), jnp.float32), "b": KERNEL}
    loss = lambda p: jnp.sum(jnp.sin(p["w"])) + jnp.sum(jnp.cos(p["b"]))
    assert [leaf.path for leaf in materialised(loss, params)] == ["w", "b"]
    some = directions.masked(directions.isotropic(rank=1), lambda path: path == "b")
    assert [leaf.path for leaf in materialised(loss, params, some)] == ["b"]


def test_a_flax_model_keeps_its_structure():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.up = nnx.Linear(16, 64, rngs=rngs)
            self.norm = nnx.LayerNorm(64, rngs=rngs)
            self.down = nnx.Linear(64, 16, rngs=rngs)

        def __call__(self, x):
            return self.down(nnx.gelu(self.norm(self.up(x))))

    graph, state = nnx.split(Model(nnx.Rngs(0)))
    assert materialised(lambda state: jnp.mean(nnx.merge(graph, state)(X) ** 2), state) == []


def quadratic(params):
    return jnp.sum((X @ params["w"]) ** 2) + 3 * jnp.sum(params["b"])


PARAMS = {"w": KERNEL, "b": jnp.ones(4)}


@pytest.mark.parametrize("rank", [None, 1])
def test_many_directions_point_along_the_gradient(rank):
    estimator = estimate(
        directions.isotropic(rank), schemes.two_sided(), num_directions=8000, chunk_size=16000
    )
    quality = compare_with_gradient(estimator, quadratic, PARAMS, num_estimates=2)
    assert quality.cosine > 0.97
    gradient = optax.tree.norm(jax.grad(quadratic)(PARAMS))
    np.testing.assert_allclose(quality.gradient_norm, gradient, rtol=1e-5)


def test_error_and_gain_are_those_of_theory():
    number, dimensions = 5, 260
    estimator = estimate(
        directions.isotropic(), schemes.leave_one_out(), num_directions=number, key=1
    )
    quality = compare_with_gradient(estimator, quadratic, PARAMS, num_estimates=2000)
    expected = (dimensions + 1) / (number - 1)
    assert abs(quality.relative_error - expected) < 4 * quality.relative_error_stderr
    assert quality.relative_error_stderr < 0.05 * expected
    assert abs(quality.gain - 1) < 4 * quality.gain_stderr
    assert quality.cosine_of_mean > 0.97 > 0.3 > quality.cosine


def test_a_biased_scheme_is_seen():
    halved = schemes.two_sided()
    weigh = lambda losses, scale: jax.tree.map(lambda c: c / 2, halved.weigh(losses, scale))
    estimator = estimate(directions.isotropic(), halved._replace(weigh=weigh), num_directions=50)
    quality = compare_with_gradient(estimator, quadratic, PARAMS)
    assert abs(quality.gain - 0.5) < 4 * quality.gain_stderr < 0.1


def test_rounding_shows_in_the_spread():
    loss = lambda params: 1e4 + 1e-3 * quadratic(params)
    make = lambda scale: scale_by_loren(perturbation_scale=scale)
    spread = lambda scale: compare_with_gradient(make(scale), loss, PARAMS, num_estimates=20)
    drowned, clear = spread(1e-4), spread(1.0)
    assert drowned.loss_spread < drowned.loss_rounding
    assert clear.loss_spread > 20 * clear.loss_rounding


def test_an_estimate_of_zero_has_cosine_zero():
    loss = lambda params: 1e8 + 1e-3 * quadratic(params)
    quality = compare_with_gradient(scale_by_loren(), loss, PARAMS, num_estimates=3)
    assert quality.cosine == 0 == quality.loss_spread


def test_frozen_leaves_of_any_type_are_left_out():
    params = {"w": KERNEL, "ids": IDS}
    loss = lambda p: jnp.sum(p["w"][p["ids"]] ** 2)
    mask = {"w": True, "ids": False}
    estimator = scale_by_loren(mask=mask)
    quality = compare_with_gradient(estimator, loss, params, num_estimates=5, mask=mask)
    assert all(np.isfinite(quality))


def test_uses_what_was_learned_and_other_noise():
    estimator = scale_by_loren(damping=1e-6, num_directions=50)
    state = estimator.init(PARAMS)
    gradient = jax.grad(quadratic)(PARAMS)
    vectors = {"w": jax.vmap(lambda _: gradient["b"][0])(jnp.arange(16)), "b": gradient["b"]}
    learned = state._replace(directions=state.directions._replace(covariance=vectors))
    before = compare_with_gradient(estimator, lambda p: jnp.sum(p["b"]), PARAMS, state)
    after = compare_with_gradient(estimator, lambda p: jnp.sum(p["b"]), PARAMS, learned)
    # The covariance that has the gradient as its vector removes the gradient from every direction.
    assert before.gain > 0.3
    assert abs(after.gain) < 1e-2


def test_errors_name_the_fix():
    with pytest.raises(TypeError, match="pass the estimate alone"):
        compare_with_gradient(optax.chain(scale_by_loren()), quadratic, PARAMS)
    with pytest.raises(ValueError, match="num_estimates"):
        compare_with_gradient(scale_by_loren(), quadratic, PARAMS, num_estimates=1)
