"""A step's two programs: compiled once, in place, and told apart by what they compute."""

import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import jaxlib.version
import numpy as np
import pytest

from loren_jax import loren, mezo, train_step
from loren_jax.runs.programs import compile_step


def bag_of_words(params, batch):
    ids, labels = batch
    logits = params["table"][ids].sum(axis=1) @ params["head"]
    return -jnp.mean(jnp.sum(jax.nn.log_softmax(logits) * labels, axis=1))


def make_params():
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
    return {"table": draw(9, 5), "head": draw(5, 3)}


def make_batch(seed):
    ids = np.random.default_rng(seed).integers(0, 9, (6, 4)).astype(np.int32)
    return ids, np.eye(3, dtype=np.float32)[np.arange(6) % 3]


def programs_of(optimizer, loss=bag_of_words, params=None, batch=None):
    params = make_params() if params is None else params
    batch = make_batch(0) if batch is None else batch
    state = optimizer.init(params)
    return params, state, compile_step(loss, optimizer, params, state, batch, None, ())


def test_compiles_once_and_learns():
    chex.clear_trace_counter()
    loss = chex.assert_max_traces(bag_of_words, 1)
    params, state, programs = programs_of(loren(0.02, num_directions=8), loss)
    assert programs.losses_shape == (8, 1)
    means = []
    for number in range(40):
        losses = programs.probe(params, state, make_batch(number % 2))
        params, state = programs.absorb(params, state, losses)
        means.append(float(losses.mean()))
    assert np.mean(means[-4:]) < 0.7 * np.mean(means[:4])


def test_batches_of_another_shape_have_a_program_of_their_own():
    """Which is compiled when the first of them comes, and never again."""
    chex.clear_trace_counter()
    loss = chex.assert_max_traces(bag_of_words, 2)
    params, state, programs = programs_of(mezo(0.02, perturbation_scale=1e-12), loss)
    for number in range(4):
        ids, labels = make_batch(number)
        wide = np.concatenate([ids, ids], axis=1), labels
        for batch in ((ids, labels), wide):
            found = programs.probe(params, state, batch)
            np.testing.assert_allclose(found[0, 0], bag_of_words(params, batch), rtol=1e-5)


def test_losses_are_those_of_the_queries():
    # At a scale this small every query is the loss at the parameters themselves.
    optimizer = mezo(1e-6, num_directions=2, perturbation_scale=1e-12)
    params, state, programs = programs_of(optimizer)
    losses = programs.probe(params, state, make_batch(1))
    expected = np.full((2, 2), bag_of_words(params, make_batch(1)))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_what_is_passed_in_is_overwritten_and_losses_stay():
    first, state, programs = programs_of(loren(0.02, num_directions=2))
    losses = programs.probe(first, state, make_batch(0))
    programs.absorb(first, state, losses)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first))
    assert np.isfinite(np.asarray(losses)).all()  # fetched after the step


def test_bfloat16_layers_are_not_converted_all_at_once():
    """On a CPU some versions of XLA would; the programs of a run are compiled so that none does.

    Measured, in units of the parameters: jax 0.10.2 takes 2.20 as it is and 0.18 with the product's
    precaution; 0.12.0.1, which has no float32 copy of the layers in its program, 0.21 and 0.19.
    """

    def deep(params, batch):
        x = params["table"][batch[0]].sum(1)
        layer = lambda x, kernel: (jnp.tanh(x @ kernel), None)
        return jnp.mean(jax.lax.scan(layer, x, params["layers"])[0].astype(jnp.float32))

    shapes = {"table": (9, 256), "layers": (8, 256, 256)}
    params = {name: jnp.ones(shape, jnp.bfloat16) for name, shape in shapes.items()}
    optimizer = loren(1e-3, rank=1, num_directions=2, momentum=None, chunk_size=1)
    _, state, programs = programs_of(optimizer, deep, params)
    plain = train_step(deep, optimizer).probe.lower(params, state, make_batch(0)).compile()
    plain = plain.memory_analysis().temp_size_in_bytes
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    assert programs.temporary_bytes < 0.6 * size
    assert programs.temporary_bytes <= plain  # the precaution never costs anything
    if jax.default_backend() == "cpu" and jaxlib.version.__version_info__ < (0, 11):
        assert plain > 1.5 * size


# In a process of its own, whose addresses and hashes are its own too.
DIGESTS = """
import sys
import jax, jax.numpy as jnp
from loren_jax import loren
from loren_jax.runs.programs import compile_step

def digests(rate=0.1, power=2):
    loss = lambda params, batch: jax.nn.relu(jnp.sum((params["w"] @ batch) ** power))
    params, optimizer = {"w": jnp.ones((3, 2))}, loren(rate, num_directions=2)
    programs = compile_step(loss, optimizer, params, optimizer.init(params), jnp.ones(2), None, ())
    return programs.loss_digest, programs.absorb_digest

print(*digests(), *digests(rate=0.2), *digests(power=3))
"""


@pytest.mark.slow
def test_digests_are_of_what_is_computed_and_of_no_process():
    found = []
    for number in "12":
        code = f"spare = [object()] * {number}000\n{DIGESTS}"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        found.append(done.stdout.split())
    assert found[0] == found[1]
    loss, absorb, _, of_other_rate, of_other_loss, still_absorb = found[0]
    assert absorb == still_absorb != of_other_rate
    assert loss != of_other_loss
