"""The weight table is total: every tensor has its place, and every place its tensor."""

import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, traverse_util
from models.tiny_checkpoints import Tensors

from loren_jax.models import FAMILIES, init_params, weights
from loren_jax.models.families import abstract_params
from loren_jax.models.weights import (
    WeightRow,
    WeightTable,
    _place,
    new_head_leaf,
    read_params,
    tensors_of,
)


def read(checkpoint, dtype=jnp.float32):
    config = checkpoint.config
    table = FAMILIES["bert"].weight_table(config)
    return read_params(Tensors(checkpoint.tensors), table, abstract_params(config), dtype=dtype)


@pytest.mark.each_value
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_params_survive_the_round_trip(pooling, dtype, tiny_checkpoint):
    checkpoint = tiny_checkpoint(pooling)
    params = init_params(checkpoint.config, dtype=dtype)
    checkpoint.tensors = tensors_of(params, FAMILIES["bert"].weight_table(checkpoint.config))
    jax.tree.map(np.testing.assert_array_equal, params, read(checkpoint, dtype))


def test_tensors_survive_the_round_trip(tiny_checkpoint):
    checkpoint = tiny_checkpoint()
    tensors = tensors_of(read(checkpoint), FAMILIES["bert"].weight_table(checkpoint.config))
    assert tensors.keys() == checkpoint.tensors.keys()
    for name, tensor in tensors.items():
        assert tensor.flags.c_contiguous
        np.testing.assert_array_equal(tensor, checkpoint.tensors[name])


def test_bare_encoder_gets_a_new_head_of_the_same_draw_in_every_dtype(tiny_checkpoint):
    whole, bare = read(tiny_checkpoint()), read(tiny_checkpoint().without_head())
    jax.tree.map(np.testing.assert_array_equal, whole["layers"], bare["layers"])
    head = bare["classifier"]
    assert not head["bias"].any()
    assert 0 < jnp.abs(head["kernel"]).max() < 0.1
    narrow = read(tiny_checkpoint().without_head(), jnp.bfloat16)["classifier"]["kernel"]
    np.testing.assert_array_equal(head["kernel"].astype(jnp.bfloat16), narrow)


def test_tensors_listed_as_ignored_are_ignored(tiny_checkpoint):
    checkpoint = tiny_checkpoint("mean")
    for name in ("bert.embeddings.position_ids", "bert.pooler.dense.bias", "cls.predictions.bias"):
        checkpoint.tensors[name] = np.zeros(3, np.int8)
    read(checkpoint)


WHOLE, EXTRA = "bert.encoder.layer.0.intermediate.dense.weight", np.zeros(8, np.float32)
NO_PLACE, MISSING = (
    "memory: the model has no place.*{name}",
    "memory: 1 tensors are missing.*{name}",
)
MISFITS = [
    ("bert.encoder.layer.2.output.dense.bias", lambda _: EXTRA, NO_PLACE),
    ("bert.embeddings.extra", lambda _: EXTRA, NO_PLACE),
    ("stray", lambda _: EXTRA, NO_PLACE),
    ("bert.encoder.layer.1.output.dense.bias", None, MISSING),
    ("bert.embeddings.word_embeddings.weight", None, MISSING),
    ("bert.pooler.dense.weight", None, MISSING),
    ("classifier.bias", None, MISSING),  # half a head is no head
    (WHOLE, lambda tensor: tensor.T, r"{name}' has shape \(8, 12\).* needs \(12, 8\)"),
    (WHOLE, lambda tensor: tensor.astype(np.int8), "{name}' has type I8"),
]


@pytest.mark.parametrize(("name", "change", "message"), MISFITS)
def test_tensor_that_does_not_fit_is_named(name, change, message, tiny_checkpoint):
    tensors = (checkpoint := tiny_checkpoint()).tensors
    found = tensors.pop(name, None)
    if change is not None:
        tensors[name] = change(found)
    with pytest.raises(ValueError, match=message.format(name=name)):
        read(checkpoint)


@pytest.mark.parametrize("path", ["classifier/kernel", "extra/kernel"])
def test_params_outside_the_table_are_named(path):
    table = WeightTable((WeightRow("w", "classifier/kernel"),), prefix="", head="classifier")
    flat = {"classifier/kernel": np.zeros(2), "extra/kernel": np.zeros(2)}
    if path == "classifier/kernel":
        del flat[path], flat["extra/kernel"]
    with pytest.raises(ValueError, match=path):
        tensors_of(traverse_util.unflatten_dict(flat, sep="/"), table)


class CountedTensors(Tensors):
    """Notes which of its tensors are still alive when the next one is read."""

    def __init__(self, tensors):
        super().__init__(tensors)
        self.order = []
        self.alive = set()
        self.left_over = []

    def read(self, name):
        self.left_over.append(self.alive - set(self.order[-1:]))
        tensor = self[name].copy()
        self.order.append(name)
        self.alive.add(name)
        weakref.finalize(tensor, self.alive.discard, name)
        return tensor


@pytest.mark.each_value
@pytest.mark.parametrize("small", [0, weights.SMALL])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_tensors_do_not_pile_up_on_the_host(dtype, small, tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(weights, "SMALL", small)
    checkpoint = tiny_checkpoint(num_hidden_layers=5)
    source = CountedTensors(checkpoint.tensors)
    table = FAMILIES["bert"].weight_table(checkpoint.config)
    params = read_params(source, table, abstract_params(checkpoint.config), dtype=dtype)
    assert sorted(source.order) == sorted(checkpoint.tensors)
    assert not any(source.left_over)  # none but the very last, which JAX lets go when called again
    tensor = checkpoint.tensors["bert.encoder.layer.4.intermediate.dense.weight"]
    np.testing.assert_array_equal(params["layers"]["up"]["kernel"][4], tensor.T.astype(dtype))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_tensor_is_written_into_the_leaf_itself(dtype):
    leaf = jnp.zeros((16, 64, 128), dtype)
    tensor = np.ones((128, 64), np.float32)
    memory = _place.lower(leaf, tensor, 3, True, True).compile().memory_analysis()
    assert memory.alias_size_in_bytes == leaf.nbytes
    assert memory.temp_size_in_bytes <= 2 * tensor.nbytes  # not another leaf of sixteen
    filled = _place(leaf, tensor, 3, True, True)
    assert leaf.is_deleted()
    assert (filled.sum(axis=(1, 2)) == jnp.zeros(16).at[3].set(tensor.size)).all()


def test_small_half_precision_numbers_are_read_exactly(tiny_checkpoint):
    checkpoint = tiny_checkpoint()
    name = "bert.pooler.dense.bias"
    subnormal = np.arange(1, 9).astype(np.uint16).view(np.float16)
    checkpoint.tensors[name] = subnormal
    np.testing.assert_array_equal(read(checkpoint)["pooler"]["bias"], np.float32(subnormal))


@pytest.mark.parametrize("names", [["bias"], ["weight", "bias"]])
def test_pooler_may_be_absent_with_the_head_and_whole(names, tiny_checkpoint):
    checkpoint = tiny_checkpoint().without_head()
    for name in names:
        del checkpoint.tensors[f"pooler.dense.{name}"]
    if names == ["bias"]:
        with pytest.raises(ValueError, match=r"1 tensors are missing.*bert\.pooler\.dense\.bias"):
            read(checkpoint)
    else:
        params = read(checkpoint)
        assert 0 < jnp.abs(params["pooler"]["kernel"]).max() < 0.1
        whole = read(tiny_checkpoint().without_head())
        jax.tree.map(np.testing.assert_array_equal, params["classifier"], whole["classifier"])


def test_leaves_of_one_head_are_different_draws():
    rngs = nnx.Rngs(0)
    first, second = (
        new_head_leaf(f"classifier/{part}/kernel", (8, 8), dtype="float32", rngs=rngs)
        for part in ("dense", "output")
    )
    assert not np.allclose(first, second)
