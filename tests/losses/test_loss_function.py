"""What a loss may return, and the one message where it returns something else."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import loren_jax
from loren_jax.losses.loss_function import loss_and_aux

PARAMS = {"w": jnp.ones(3)}


class Unregistered:
    """An object that JAX knows nothing of."""

    def __init__(self, loss):
        self.loss = loss
        self.name = "model"


class Named(NamedTuple):
    loss: Any
    name: str


@pytest.mark.each_value
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda p: (jnp.sum(p["w"]), {"a": 1.0}), "got a tuple of length 2"),
        (lambda p: [jnp.sum(p["w"])], "got a list of length 1"),
        (lambda p: {"loss": jnp.sum(p["w"])}, "got a dict with the keys 'loss'"),
        (lambda p: None, "got None"),
        (lambda p: p["w"], r"got shape \(3,\) and dtype float32"),
        (lambda p: jnp.asarray(1), r"got shape \(\) and dtype int32"),
        (lambda p: 3, r"got shape \(\) and dtype int32"),
        (lambda p: jnp.sum(p["w"]) > 0, r"got shape \(\) and dtype bool"),
        (lambda p: jnp.sum(p["w"]) * 1j, r"got shape \(\) and dtype complex64"),
        (lambda p: "low", "got a str"),
        (lambda p: Named(p["w"], "x"), r"got shape \(3,\)"),
    ],
)
@pytest.mark.parametrize("make", [loren_jax.loren, loren_jax.mezo])
def test_a_loss_that_is_no_scalar(value, said, make):
    optimizer = make(0.1)
    with pytest.raises(TypeError, match="value_fn must return a floating-point scalar, " + said):
        optimizer.update(None, optimizer.init(PARAMS), PARAMS, value_fn=value)
    with pytest.raises(TypeError, match="has_aux=True"):
        jax.jit(lambda: optimizer.update(None, optimizer.init(PARAMS), PARAMS, value_fn=value))()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda p: jnp.sum(p["w"]), r"must return \(loss, aux\) with has_aux=True, got shape \(\)"),
        (lambda p: (1.0, 2.0, 3.0), r"must return \(loss, aux\).*a tuple of length 3"),
        (lambda p: (p["w"], {}), r"must return a floating-point scalar, got shape \(3,\)"),
        (lambda p: {"logits": p["w"]}, r"must return \(loss, aux\).*the keys 'logits'"),
        (lambda p: (jnp.sum(p["w"]), {"name": "x"}), r"\['name'\] is a str: they must be arrays"),
    ],
)
def test_auxiliary_outputs_that_are_none(value, said):
    with pytest.raises(TypeError, match=said):
        loss_and_aux(value, has_aux=True)(PARAMS)


@pytest.mark.parametrize("kind", [Unregistered, lambda loss: Named(loss, "model")])
def test_an_object_that_is_no_pytree_of_arrays_is_named(kind):
    with pytest.raises(TypeError, match=r"they must be arrays in pytrees.*register_dataclass"):
        loss_and_aux(lambda p: kind(jnp.sum(p["w"])))(PARAMS)


@pytest.mark.parametrize("value", [jnp.ones(()), 0.5, np.float32(1), {"w": 1}])
def test_a_value_in_place_of_a_function(value):
    optimizer = loren_jax.mezo(0.1)
    with pytest.raises(TypeError, match=r"value_fn must be a function of the parameters, got"):
        optimizer.update(None, optimizer.init(PARAMS), PARAMS, value_fn=value)


@pytest.mark.parametrize("value", [1.5, np.float64(1.5), jnp.bfloat16(1.5), jnp.float16(1.5)])
def test_scalars_of_every_kind(value):
    loss, aux = loss_and_aux(lambda p: value)(PARAMS)
    assert (float(loss), loss.dtype, aux) == (1.5, jnp.float32, ())
