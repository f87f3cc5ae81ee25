"""What README and the guides show does what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from documents import pages, python_blocks
from flax import nnx

import loren_jax
from benchmarks.evidence import low_precision
from loren_jax import journal

BLOCKS = python_blocks()


@pytest.fixture
def pasted(tmp_path, monkeypatch):
    """Runs the one block with some words in it, in a folder of its own; returns its names."""
    monkeypatch.chdir(tmp_path)

    def run(words):
        found = {block.text: block.page for block in BLOCKS if words in block.text}
        ((text, page),) = found.items()  # README and a guide may show the same block
        names = {}
        exec(compile(text, page, "exec"), names)
        return names

    return run


def test_the_journal(pasted):
    names = pasted("journal.create")
    assert names["replayed"].steps == 50
    assert names["replayed"].differences == []
    again = journal.replay(names["base_params"], "run.journal").params
    np.testing.assert_array_equal(again["kernel"], names["params"]["kernel"])
    before, after = (names["loss"](names[n], names["batch"]) for n in ("base_params", "params"))
    assert after < 0.5 * before


def test_any_loss_in_a_run(pasted):
    fitted = pasted("loren_jax.fit")["fitted"]
    assert fitted.summary.after["loss"] < 0.2 * fitted.summary.before["loss"]
    assert (fitted.directory / "run.journal").is_file()


def test_who_does_not_copy_is_told_so(pasted, monkeypatch):
    """As the README had it: the parameters that the run began with were donated."""
    names = pasted("journal.create")
    for leaf in names["base_params"].values():
        leaf.delete()
    message = r"^params: the array of leaf 'kernel' has been deleted[^\n]*jnp.copy, params\).$"
    base, optimizer = names["base_params"], names["optimizer"]
    for use in (
        lambda: journal.replay(base, "run.journal"),
        lambda: journal.header(base, (6, 1)),
        lambda: journal.Session(base, optimizer),
        lambda: journal.Session.resume(base, "run.journal"),
    ):
        with pytest.raises(ValueError, match=message):
            use()
    state = optimizer.init({"kernel": jnp.zeros((8, 1))})
    state[0].losses.delete()
    with pytest.raises(ValueError, match=r"^state: the array of leaf '0/losses' has been deleted"):
        journal.Session(names["params"], optimizer, state=state)


X = jax.random.normal(jax.random.key(0), (32, 8))


def test_a_train_state(pasted):
    names = pasted("TrainState.create")
    state, y = names["state"], X[:, :1]
    for _ in range(100):
        state = names["step"](state, X, y)
    assert state.step == 100
    assert jnp.mean((X @ state.params["kernel"] - y) ** 2) < 0.5 * jnp.mean(y**2)


class Net(nnx.Module):
    """With layers that change themselves in a forward pass."""

    def __init__(self, rngs):
        self.norm, self.drop = nnx.BatchNorm(8, rngs=rngs), nnx.Dropout(0.1, rngs=rngs)
        self.head = nnx.Linear(8, 1, use_bias=False, rngs=rngs)

    def __call__(self, x):
        return self.head(self.drop(self.norm(x)))


@pytest.mark.parametrize("own", [False, True], ids=["linear", "norm and dropout"])
def test_an_nnx_optimizer(pasted, own):
    names = pasted("nnx.Optimizer")
    model, optimizer, y = names["model"], names["optimizer"], X[:, :1]
    if own:
        model = Net(nnx.Rngs(0))
        optimizer = nnx.Optimizer(model, loren_jax.loren(3e-3, rank=1), wrt=nnx.Param)
    error = lambda: float(jnp.mean((nnx.merge(*nnx.split(model), copy=True)(X) - y) ** 2))
    before = error()
    with jax.numpy_rank_promotion("allow"):  # a bias and a norm are added as they are
        for _ in range(100):
            names["step"](model, optimizer, X, y)
        assert error() < 0.6 * before
    assert optimizer.step[...] == 100


def test_the_default_finds_slopes_in_bfloat16_and_copies_do_not():
    exact = low_precision.exact_slopes()
    copies = low_precision.found_slopes(jnp.bfloat16, loren_jax.evaluation.materialised)
    default = low_precision.found_slopes(jnp.bfloat16)
    assert np.abs(default / exact - 1).max() < 0.02
    assert np.abs(copies / exact - 1).min() > 0.1
    page = pages()["docs/guides/memory.md"].read_text(encoding="utf-8")
    listed = lambda slopes: "{:.1f}, {:.1f} and {:.1f}".format(*slopes)
    for slopes in (exact, default, copies):
        assert listed(slopes) in page
