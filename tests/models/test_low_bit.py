"""A model whose matrices stay in few bits computes what the dequantised model does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints.gguf_files import SHAPES, write_gguf
from models.tiny_checkpoints import TinyCheckpoint
from quantised.block_draws import blocks_of

from loren_jax import lora, loren, train_step
from loren_jax.models import load_classifier, load_language_model, load_prompted
from loren_jax.models.low_bit import Storage
from loren_jax.models.weights import flatten_params
from loren_jax.noise import leaf_paths
from loren_jax.parts import trained
from loren_jax.quantised import Quantised, as_dense, as_shapes
from loren_jax.quantised.forms import FORMS

IDS = np.array([[1, 4, 5, 6, 2], [1, 7, 8, 9, 10]])
MASK = np.ones_like(IDS)
LARGE = {"embedding_length": 256, "feed_forward_length": 512}


def large_tensors():
    """Tensors whose rows are long enough for blocks of 256, of two layers."""
    width = {11: 11, 32: 256, 64: 512, 16: 128}
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in SHAPES.items():
        for layer in (0, 1) if name.startswith("blk") else (0,):
            own = name.replace("blk.0", f"blk.{layer}")
            drawn = rng.standard_normal([width[size] for size in shape], np.float32)
            found[own] = drawn / 16 if len(shape) > 1 else drawn
    return found


def packed(name, tensors, seed=0):
    """Blocks for all matrices."""
    block = FORMS[name].block
    return {
        tensor: (name, blocks_of(name, shape[0], shape[1] // block, seed + number))
        for number, (tensor, shape) in enumerate((n, t.shape) for n, t in tensors.items())
        if len(shape) == 2
    }


def write_large(path, packings):
    numbers = {**LARGE, "block_count": 2}
    return write_gguf(path, numbers=numbers, tensors=large_tensors(), packed=packings)


def wide_config(model_type):
    """Of a model whose matrices are multiples of a block."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    return {"model_type": model_type, "vocab_size": 40, "num_hidden_layers": 2, **sizes}


def both(path, storage):
    """The model in few bits, and the one of the same numbers as floats."""
    own = load_language_model(path, storage=storage)
    return own, own._replace(params=as_dense(own.params))


def require_same_logits(own, floats, **tolerance):
    given = (IDS, MASK)
    made, expected = (jax.jit(model.apply)(model.params, *given) for model in (own, floats))
    np.testing.assert_allclose(made, expected, **{"rtol": 1e-4, "atol": 1e-4, **tolerance})


def test_a_file_of_bfloat16_stays_as_it_is(tmp_path):
    tensors = TinyCheckpoint(wide_config("llama"), head="language_model")
    tensors.tensors = {n: x.astype(jnp.bfloat16) for n, x in tensors.tensors.items()}
    path = tensors.write(tmp_path / "model")
    own, _ = both(path, Storage("file"))
    assert own.params["layers"]["up"]["kernel"].name == "BF16"
    floats = load_language_model(path)
    jax.tree.map(np.testing.assert_array_equal, as_dense(own.params), floats.params)


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K"])
def test_a_gguf_stays_packed_and_gives_the_logits_of_its_floats(name, tmp_path):
    path = write_large(tmp_path / "model.gguf", packed(name, large_tensors()))
    own, _ = both(path, Storage("file"))
    kept = [leaf for leaf in flatten_params(own.params).values() if isinstance(leaf, Quantised)]
    assert {leaf.name for leaf in kept} == {name}
    assert len(kept) == 8  # all but the norms
    floats = load_language_model(path)
    for path, leaf in flatten_params(floats.params).items():
        np.testing.assert_allclose(
            flatten_params(as_dense(own.params))[path], leaf, rtol=1e-5, atol=1e-6
        )
    require_same_logits(own, floats)


def test_layers_of_two_packings_share_a_stack(tmp_path):
    packings = packed("Q4_K", large_tensors())
    packings |= {
        name: blocks
        for name, blocks in packed("Q6_K", large_tensors()).items()
        if name in ("blk.1.ffn_down.weight", "blk.1.attn_q.weight")
    }
    path = write_large(tmp_path / "model.gguf", packings)
    own, _ = both(path, Storage("file"))
    assert own.params["layers"]["down"]["kernel"].name == "K8"
    assert own.params["layers"]["up"]["kernel"].name == "Q4_K"
    require_same_logits(own, load_language_model(path))


def test_an_unknown_packing_and_layers_without_a_common_form_are_refused_by_name(tmp_path):
    one = write_gguf(tmp_path / "one.gguf", packing="Q5_0")
    with pytest.raises(
        ValueError, match=r"down_proj\.weight' is packed as Q5_0, which cannot be kept"
    ):
        load_language_model(one, storage=Storage("file"))
    packings = packed("Q4_K", large_tensors())
    packings["blk.1.ffn_up.weight"] = packed("Q8_0", large_tensors())["blk.1.ffn_up.weight"]
    two = write_large(tmp_path / "two.gguf", packings)
    with pytest.raises(ValueError, match="packed as Q4_K and Q8_0, which share no form"):
        load_language_model(two, storage=Storage("file"))


@pytest.mark.parametrize(("name", "at"), [("Q8_0", 0), ("Q4_1", 2), ("Q6_K", 208)])
def test_a_scale_that_is_not_finite_and_a_file_that_is_cut_never_train(name, at, tmp_path):
    packings = packed(name, large_tensors())
    blocks = packings["blk.1.ffn_up.weight"][1]
    blocks[3, 0, at : at + 2] = np.array([np.nan], "<f2").view(np.uint8)
    path = write_large(tmp_path / "model.gguf", packings)
    with pytest.raises(ValueError, match=r"1\.mlp\.up_proj\.weight' has a scale that is not fin"):
        load_language_model(path, storage=Storage("file"))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="damaged or incomplete"):
        load_language_model(path, storage=Storage("file"))


@pytest.mark.each_value
@pytest.mark.parametrize("kind", ["int8", "int4", "bfloat16", "float16"])
@pytest.mark.parametrize("model_type", ["llama", "gpt2", "bert"])
def test_floats_are_packed_when_they_are_read(kind, model_type, tmp_path):
    more = {"head": "language_model"} if model_type != "bert" else {"pooling": "mean"}
    if model_type == "gpt2":
        more |= {"n_embd": 32, "n_head": 2, "n_layer": 2, "n_inner": 64, "n_positions": 16}
    path = TinyCheckpoint(wide_config(model_type), **more).write(tmp_path / "model")
    load = load_classifier if model_type == "bert" else load_language_model
    own = load(path, storage=Storage(kind, ("classifier/*",)))
    kept = {p: x for p, x in flatten_params(own.params).items() if isinstance(x, Quantised)}
    assert any(path.startswith("layers/") for path in kept)
    assert any(path.endswith("word/embedding") for path in kept)
    assert not any(path.startswith("classifier") for path in kept)
    floats = flatten_params(load(path).params)
    bound = {"int8": 0.02, "int4": 0.2, "bfloat16": 0.01, "float16": 0.001}[kind]
    for path, leaf in kept.items():
        assert np.abs(leaf.to_dense() - floats[path]).max() < bound * np.abs(floats[path]).max()
    require_same_logits(own, own._replace(params=as_dense(own.params)))


def test_a_matrix_that_is_trained_is_a_float_and_trained_scales_are_wide(tmp_path):
    path = write_large(tmp_path / "model.gguf", packed("Q4_0", large_tensors()))
    trained = ("layers/attention/*/kernel", "layers/up/kernel/scales")
    params = load_language_model(path, storage=Storage("file", trained)).params
    layers = params["layers"]
    assert isinstance(layers["attention"]["query"]["kernel"], jax.Array)
    assert layers["up"]["kernel"].scales.dtype == jnp.float32
    assert layers["gate"]["kernel"].scales.dtype == jnp.float16
    assert "layers/up/kernel/scales" in leaf_paths(params)


def test_answers_by_a_few_tokens_look_up_rows_of_codes(tmp_path):
    path = write_large(tmp_path / "model.gguf", packed("Q4_K", large_tensors()))
    own, floats = (load_prompted(path, [4, 7], storage=s) for s in (Storage("file"), None))
    made, expected = (jax.jit(m.apply)(m.params, IDS, MASK) for m in (own, floats))
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4)
    program = jax.jit(own.apply).lower(own.params, IDS, MASK).compile()
    layer = sum(leaf[0].size for leaf in jax.tree.leaves(floats.params["layers"]))
    assert program.memory_analysis().temp_size_in_bytes < 1.1 * 4 * layer


def temporary_of_a_step(path, way, kind):
    """Bytes of a step of two queries, one after the other, and those of one layer in floats."""
    storage = Storage(kind, ("*/scales",) if way == "scales" else ())
    model = load_language_model(path, storage=storage)
    loss = lambda params, ids: jnp.mean(model.apply(params, ids, jnp.ones_like(ids)) ** 2)
    optimizer, own, frozen = loren(0.1, rank=1, num_directions=2, chunk_size=1), model.params, ()
    if way == "scales":
        optimizer = trained(optimizer, lambda path: path.endswith("/scales"))
    else:
        own, frozen = lora.init(model.params, "layers/*/kernel", rank=1), (model.params,)
        adapted = lora.adapt(loss)
        loss = lambda own, ids, base: adapted(base, own, ids)
    state = optimizer.init(own)
    step = train_step(loss, optimizer).lower(own, state, jnp.asarray(IDS), *frozen).compile()
    layers = as_shapes(model.params["layers"])
    layer = sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(layers))
    return step.memory_analysis().temp_size_in_bytes, 4 * layer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "kind"),
    [("scales", "int4"), ("adapters", "int8")],
)
def test_a_step_needs_one_layer_of_floats_whatever_the_depth(way, kind, tmp_path):
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 2}
    raw = {"model_type": "llama", "vocab_size": 40, **sizes}
    found = []
    for depth in (2, 8):
        checkpoint = TinyCheckpoint(raw, head="language_model", num_hidden_layers=depth)
        path = checkpoint.write(tmp_path / str(depth))
        found.append(temporary_of_a_step(path, way, kind))
    (shallow, layer), (deep, _) = found
    assert shallow < 1.6 * layer
    # What is drawn for the trained leaves grows, no float of a matrix does.
    assert deep - shallow < 0.5 * layer
