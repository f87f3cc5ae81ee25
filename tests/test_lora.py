"""Adapters: the dense model's values and derivatives, without the dense model."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from loren_jax import diagnostics, lora, loren, noise
from loren_jax.directions import attention_axes, rank_one, sampling
from loren_jax.evaluation import materialised, perturbed

LAYERS, WIDTH, VOCABULARY, RANK, SCALE = 3, 8, 11, 2, 0.5
TOKENS = jnp.asarray([[0, 3, 7, 1], [1, 1, 2, 5]])
LABELS = jnp.asarray([0, 1])
TARGETS = ("*/kernel", "embedding")


def model_params(dtype=jnp.float32):
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape) / np.sqrt(WIDTH), dtype)
    return {
        "embedding": draw(VOCABULARY, WIDTH),
        "layers": {"kernel": draw(LAYERS, WIDTH, WIDTH), "bias": draw(LAYERS, WIDTH)},
        "classifier": {"kernel": draw(WIDTH, 2), "bias": draw(2)},
    }


def model(params, ids, power=1):
    """Rows of an embedding, a scan over layers, a head, and logits tied to the embedding."""

    def layer(x, p):
        return x + jnp.tanh(x @ p["kernel"] + p["bias"][None, None, :]), None

    x, _ = jax.lax.scan(layer, params["embedding"][ids], params["layers"])
    head = params["classifier"]
    logits = jnp.mean(x, 1) @ head["kernel"] + head["bias"][None, :]
    return {"logits": logits.astype(jnp.float32), "tied": (x @ params["embedding"].T) ** power}


ADAPTED = lora.adapt(model, scale=SCALE)
ADAPTED_JIT = jax.jit(ADAPTED, static_argnames="power")
MODEL_JIT = jax.jit(model, static_argnames="power")


def randomised(adapters, seed=0):
    """Adapters that change something."""
    rng = np.random.default_rng(seed)
    add = lambda x: x + jnp.asarray(0.3 * rng.normal(size=x.shape), x.dtype)
    return jax.tree.map(add, adapters)


def dense(params, adapters):
    """The oracle: written out for `TARGETS`, without anything of the library."""
    add = lambda w, own: (w + SCALE * own["down"] @ own["up"]).astype(w.dtype)
    own, table = adapters["layers"]["kernel"], adapters["embedding"]
    head = add(params["classifier"]["kernel"], adapters["classifier"]["kernel"])
    return {
        "embedding": (params["embedding"] + SCALE * (table["down"] @ table["up"]).T).astype(
            params["embedding"].dtype
        ),
        "layers": params["layers"] | {"kernel": add(params["layers"]["kernel"], own)},
        "classifier": params["classifier"] | {"kernel": head},
    }


def loss(outputs):
    entropy = optax.softmax_cross_entropy_with_integer_labels(outputs["logits"], LABELS)
    return jnp.mean(entropy) + 0.1 * jnp.mean(outputs["tied"].astype(jnp.float32) ** 2)


PARAMS = model_params()
ADAPTERS = lora.init(PARAMS, TARGETS, rank=RANK)


def close(actual, expected, tolerance=1e-5):
    check = lambda a, b: np.testing.assert_allclose(
        np.asarray(a, np.float32), np.asarray(b, np.float32), rtol=tolerance, atol=tolerance
    )
    jax.tree.map(check, actual, expected)


def test_the_shapes_and_sizes_of_fresh_adapters():
    params = {
        "attention": {"query": {"kernel": jnp.ones((16, 2, 8), jnp.bfloat16)}},
        "embedding": jnp.ones((50, 400)),
        "layers": {"kernel": jnp.ones((5, 400, 30)), "bias": jnp.ones((5, 30))},
    }
    adapters = lora.init(params, ["*kernel", "embedding"], rank=20, matrix_axes=attention_axes)
    assert jax.tree.map(jnp.shape, adapters) == {
        "attention": {"query": {"kernel": {"down": (16, 20), "up": (20, 16)}}},
        "embedding": {"down": (400, 20), "up": (20, 50)},
        "layers": {"kernel": {"down": (5, 400, 20), "up": (5, 20, 30)}},
    }
    assert {leaf.dtype for leaf in jax.tree.leaves(adapters)} == {jnp.dtype("float32")}
    down = adapters["layers"]["kernel"]["down"]
    np.testing.assert_allclose(jnp.std(down), 1 / 20, rtol=0.03)
    np.testing.assert_allclose(jnp.mean(down), 0, atol=1e-3)
    assert not any(
        jnp.any(x) for x in (adapters["embedding"]["up"], adapters["layers"]["kernel"]["up"])
    )


def test_a_matrix_gets_its_numbers_by_its_path_and_the_key():
    both = {"a": {"kernel": jnp.ones((9, 4))}, "b": {"kernel": jnp.ones((9, 4))}}
    down = lambda params, name, key=0: lora.init(params, "*", rank=2, key=key)[name]["kernel"][
        "down"
    ]
    first = down(both, "a")
    np.testing.assert_array_equal(first, down({"a": both["a"]}, "a"))
    np.testing.assert_array_equal(first, down(both, "a", noise.run_key(0)))
    for other in (down(both, "b"), down(both, "a", 1)):
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.7
    layers = down({"a": {"kernel": jnp.ones((2, 9, 4))}}, "a")
    assert not jnp.allclose(layers[0], layers[1])


def test_targets_may_be_a_pattern_patterns_a_function_or_a_tree():
    shapes = lambda targets: jax.eval_shape(lambda: lora.init(PARAMS, targets, rank=2))
    chosen = shapes("layers/kernel")
    assert list(chosen) == ["layers"]
    assert list(chosen["layers"]) == ["kernel"]
    tree = jax.tree_util.tree_map_with_path(
        lambda path, _: noise.path_names(path) == ("layers", "kernel"), PARAMS
    )
    for targets in (["layers/kern*"], lambda path: path == "layers/kernel", tree):
        assert shapes(targets) == chosen


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": "layers/*"}, "targets chooses layers/bias, which are vectors and have no low"),
        ({"targets": "*/kernels"}, r"targets: '\*/kernels' matches no parameter; they are class"),
        ({"targets": (), "full": "head"}, "full: 'head' matches no parameter"),
        ({"targets": ()}, "targets and full choose no leaf"),
        ({"targets": TARGETS, "full": "classifier/*"}, "both choose classifier/kernel: a leaf is"),
        ({"targets": TARGETS, "rank": 0}, "rank must be at least 1"),
        ({"targets": "codes"}, "'codes' has dtype int8 and cannot be perturbed"),
    ],
)
def test_what_cannot_be_adapted_is_named(arguments, message):
    params = PARAMS | {"codes": jnp.ones((4, 4), jnp.int8)}
    with pytest.raises(ValueError, match=message):
        lora.init(params, **({"rank": 2} | arguments))


@pytest.mark.parametrize(
    ("adapters", "message"),
    [
        ({"layer": {"down": 1.0}}, "adapters holds layer/down, which belongs to no leaf"),
        ({"embedding": {"down": jnp.ones((8, 2))}}, "embedding/down, which belongs to no leaf"),
        (
            {"embedding": {"down": jnp.ones((8, 2)), "up": jnp.ones((3, 11))}},
            r"'embedding': up has the shape \(3, 11\), and params need \(2, 11\)",
        ),
        ({"layers": {"bias": jnp.ones(8)}}, r"'layers/bias': value has the shape \(8,\), and"),
    ],
)
def test_adapters_of_other_parameters_are_refused(adapters, message):
    for use in (lambda: ADAPTED(PARAMS, adapters, TOKENS), lambda: lora.merge(PARAMS, adapters)):
        with pytest.raises(ValueError, match=message):
            use()


def test_a_function_that_does_not_use_them_is_refused():
    with pytest.raises(ValueError, match="function uses none of the perturbed leaves"):
        lora.adapt(lambda params: params["layers"]["bias"])(PARAMS, ADAPTERS)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_fresh_adapters_change_nothing(dtype):
    params = model_params(dtype)
    actual, expected = ADAPTED_JIT(params, ADAPTERS, TOKENS), MODEL_JIT(params, TOKENS)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)
    jax.tree.map(lambda a, b: np.testing.assert_equal(a.dtype, b.dtype), actual, expected)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_equals_the_dense_model(dtype):
    params, adapters = model_params(dtype), randomised(ADAPTERS)
    expected = MODEL_JIT(dense(params, adapters), TOKENS)
    tolerance = 1e-5 if dtype == jnp.float32 else 0.1
    close(ADAPTED_JIT(params, adapters, TOKENS), expected, tolerance)
    merged = lora.merge(params, adapters, scale=SCALE)
    close(merged, dense(params, adapters), 1e-6 if dtype == jnp.float32 else 0.01)
    assert {leaf.dtype for leaf in jax.tree.leaves(merged)} == {jnp.dtype(dtype)}
    assert merged["layers"]["bias"] is params["layers"]["bias"]


def test_gradients_equal_those_of_the_dense_model():
    """Of the adapters, of the parameters, and of what is closed over."""
    adapters, shift = randomised(ADAPTERS), jnp.ones(WIDTH)

    def value(run):
        def total(params, adapters, shift):
            moved = {**params, "embedding": params["embedding"] + shift[None, :]}
            return loss(run(moved, adapters))

        return jax.jit(jax.grad(total, (0, 1, 2)))(PARAMS, adapters, shift)

    actual = value(lambda params, adapters: ADAPTED(params, adapters, TOKENS))
    expected = value(lambda params, adapters: model(dense(params, adapters), TOKENS))
    close(actual, expected, 1e-4)
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(actual[1]))


def test_keyword_arguments_stay_python_values_and_several_adapters_run_at_once():
    several = jax.tree.map(lambda *x: jnp.stack(x), *(randomised(ADAPTERS, i) for i in range(2)))
    squared = lambda adapters: ADAPTED(PARAMS, adapters, TOKENS, power=2)
    actual = jax.jit(jax.vmap(squared))(several)
    for i in range(2):
        own = dense(PARAMS, jax.tree.map(lambda x, i=i: x[i], several))
        close(jax.tree.map(lambda x, i=i: x[i], actual), MODEL_JIT(own, TOKENS, power=2))


def test_leaves_that_are_trained_in_full():
    """They are copies, and the function sees them in the type that it knows."""
    params = model_params(jnp.bfloat16)
    adapters = lora.init(params, "layers/kernel", rank=RANK, full="classifier/*")
    own = adapters["classifier"]["bias"]
    assert own.dtype == jnp.float32
    close(own, params["classifier"]["bias"], 0)
    adapters["classifier"]["bias"] = own + 1
    before, after = (
        f(params, *more, TOKENS) for f, more in ((MODEL_JIT, ()), (ADAPTED_JIT, (adapters,)))
    )
    close(after["logits"], before["logits"] + 1, 0.02)
    merged = lora.merge(params, adapters)
    assert merged["classifier"]["bias"].dtype == jnp.bfloat16
    close(MODEL_JIT(merged, TOKENS)["logits"], after["logits"], 0)
    same = lora.init(PARAMS, (), rank=1, full="classifier/bias")["classifier"]["bias"]
    assert same.unsafe_buffer_pointer() != PARAMS["classifier"]["bias"].unsafe_buffer_pointer()


def test_parameters_of_a_library_of_networks_and_axes_of_heads():
    graph, params = nnx.split(
        nnx.MultiHeadAttention(2, WIDTH, decode=False, rngs=nnx.Rngs(0)), nnx.Param
    )
    function = lambda params, x: nnx.merge(graph, params)(x)
    own = {"matrix_axes": attention_axes}
    adapters = randomised(lora.init(params, "*/kernel", rank=20, **own))  # above LowRank.FUSED
    merged = lora.merge(params, adapters, scale=0.1, **own)
    x = jnp.cos(jnp.arange(3.0 * WIDTH)).reshape(1, 3, WIDTH)
    adapted = jax.jit(lora.adapt(function, scale=0.1, **own))
    plain = jax.jit(function)
    expected, before = plain(merged, x), plain(params, x)
    close(adapted(params, adapters, x), expected)
    assert not jnp.allclose(before, expected, atol=1e-2)


def test_merging_a_stack_of_high_rank():
    """Beyond the ranks that are written out: layer by layer."""
    params = {"kernel": jnp.ones((3, 24, 20))}
    adapters = randomised(lora.init(params, "*", rank=18))
    expected = params["kernel"] + 2 * adapters["kernel"]["down"] @ adapters["kernel"]["up"]
    close(lora.merge(params, adapters, scale=2.0)["kernel"], expected)


@pytest.mark.parametrize("rank", [1, None])
def test_losses_of_perturbed_adapters(rank, monkeypatch):
    """Lazy in lazy gives the loss of the perturbed dense model, and builds no adapter either."""
    monkeypatch.setattr(sampling, "SMALL", 0)
    adapters, directions = randomised(ADAPTERS), rank_one(0.1, 1e-3, rank)
    adapted = lambda adapters: loss(ADAPTED(PARAMS, adapters, TOKENS))
    plain = lambda adapters: loss(model(dense(PARAMS, adapters), TOKENS))
    key = noise.run_key(0)
    drawn = jax.jit(lambda: directions.draw(directions.init(adapters, key), adapters, key))()
    run = lambda evaluation, value_fn: jax.jit(evaluation(value_fn, adapters).run)(
        drawn, jnp.float32(0.05)
    )
    expected = run(materialised, plain)
    np.testing.assert_allclose(run(perturbed, adapted), expected, rtol=1e-5)
    assert abs(expected - jax.jit(plain)(adapters)) > 1e-3
    assert not diagnostics.dense_leaves(adapted, adapters, directions)


def test_the_memory_of_a_step_is_that_of_a_forward_pass():
    """Bare forward and little beside it: no adapted weight is ever built, nor a stack copied."""
    params = {"kernel": jax.ShapeDtypeStruct((8, 512, 512), jnp.float32)}
    x = jnp.ones((4, 512))
    forward = lambda p, x: jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, p["kernel"])[0]
    adapters = lora.init(params, "kernel", rank=4)
    adapted, optimizer = lora.adapt(forward, scale=2.0), loren(0.01, rank=1, chunk_size=1)

    def step(params, adapters, state, x):
        value_fn = lambda adapters: jnp.mean(adapted(params, adapters, x) ** 2)
        updates, state = optimizer.update(None, state, adapters, value_fn=value_fn)
        return optax.apply_updates(adapters, updates), state

    state = jax.eval_shape(optimizer.init, adapters)
    compiled = jax.jit(step, donate_argnums=(1, 2)).lower(params, adapters, state, x).compile()
    bare = jax.jit(lambda p, x: jnp.mean(forward(p, x) ** 2)).lower(params, x).compile()
    temporary = lambda c: c.memory_analysis().temp_size_in_bytes
    assert temporary(compiled) < temporary(bare) + 0.6 * 4 * 512**2


def fit(optimizer, steps, **more):
    adapters = lora.init(PARAMS, ("layers/kernel", "embedding"), rank=RANK, full="classifier/*")

    @jax.jit
    def run(params, adapters, state):
        value_fn = lambda adapters: loss(ADAPTED(params, adapters, TOKENS))

        def step(carry, _):
            adapters, state = carry
            value, gradient = jax.value_and_grad(value_fn)(adapters) if not more else (None, None)
            extra = {"value_fn": value_fn} if more else {}
            updates, state = optimizer.update(gradient, state, adapters, **extra)
            return (optax.apply_updates(adapters, updates), state), value

        (adapters, _), _ = jax.lax.scan(step, (adapters, state), length=steps)
        return adapters, value_fn(adapters)

    return run(PARAMS, adapters, optimizer.init(adapters))


def test_training():
    """With forward passes, and with gradients through the same function."""
    before = float(loss(MODEL_JIT(PARAMS, TOKENS)))
    adapters, after = fit(loren(0.2, rank=1), 150, zeroth_order=True)
    assert after < 0.6 * before
    merged = lora.merge(PARAMS, adapters, scale=SCALE)
    np.testing.assert_allclose(loss(MODEL_JIT(merged, TOKENS)), after, rtol=1e-4)
    assert fit(optax.adam(0.02), 60)[1] < 0.6 * before
