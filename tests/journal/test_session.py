"""Ask and tell is the same step as any other, wherever the losses come from."""

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax import journal
from loren_jax.transforms import chain

START = {"w": jnp.sin(jnp.arange(12.0)).reshape(3, 4), "b": jnp.zeros(4)}


def loss(params):
    return jnp.sum((jnp.tanh(params["w"]) - 0.5) ** 2) + jnp.sum((params["b"] - 1) ** 2)


OPTIMIZERS = {
    "loren": lambda: loren_jax.loren(0.02, num_directions=3),
    "mezo rank 1": lambda: loren_jax.mezo(0.02, rank=1, num_directions=2),
    "masked adam": lambda: loren_jax.trained(loren_jax.mezo_adam(0.02), lambda path: path == "w"),
    "one block": lambda: loren_jax.mezo_bcd(0.02),
    "with a centre": lambda: loren_jax.zo_muon(0.02, rank=2, num_directions=2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_queries_are_those_of_the_step(name):
    """Losses at what is asked are the step's own, in its order; so the steps are the same."""
    optimizer = OPTIMIZERS[name]()
    session = journal.Session(START, optimizer)
    step, value = loren_jax.train_step(loss, optimizer), jax.jit(loss)
    for _ in range(2):
        losses = np.array([value(params) for params in session.ask()])
        expected = step.probe(session.params, session.state)
        np.testing.assert_allclose(losses.reshape(expected.shape), expected, rtol=1e-5)
        session.tell(losses)
    assert session.steps == 2


def test_any_chain_behind_an_estimate():
    optimizer = chain(loren_jax.loren(1.0, num_directions=4).estimate, optax.scale(-0.02))
    session = journal.Session(START, optimizer)
    before = float(loss(session.params))
    for _ in range(40):
        session.tell([float(loss(params)) for params in session.ask()])
    assert float(loss(session.params)) < 0.7 * before


def test_another_process_answers_from_the_journal_alone(tmp_path):
    """It has the base model and the journal so far; it is told which query to evaluate."""
    method = journal.Method("mezo", {"learning_rate": 0.02}, seed=3)
    np.savez(tmp_path / "base.npz", **START)
    code = """
        import sys
        import numpy as np
        from loren_jax import journal
        base = dict(np.load(sys.argv[1] + "/base.npz"))
        params = journal.Session.resume(base, sys.argv[1] + "/j").query(0, 1)
        print(repr(float(np.square(params["w"]).sum())))
    """
    metric = lambda params: float(np.square(params["w"]).sum())
    header = journal.header(START, (1, 2), method=method)
    with journal.create(tmp_path / "j", header) as log:
        session = journal.Session(START, method.build(), log=log)
        for _ in range(3):
            session.tell([metric(params) for params in session.ask()])
        command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert float(answer) == pytest.approx(metric(session.query(0, 1)), rel=1e-6)
    assert journal.read(tmp_path / "j").steps == 3


def test_misuse_is_explained():
    with pytest.raises(TypeError, match=r"loren_jax\.transforms\.chain"):
        journal.Session(START, optax.chain(loren_jax.loren(1.0).estimate, optax.scale(-1.0)))
    session = journal.Session(START, loren_jax.mezo(0.1))
    with pytest.raises(ValueError, match="3 numbers, but the step asked for 1 x 2"):
        session.tell([1.0, 2.0, 3.0])
