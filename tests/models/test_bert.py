"""The network against torch's, against golden logits that torch made, and its structure.

`golden_bert.json` holds the logits that transformers 5.23.0 with torch 2.13.0 gives for the
checkpoints and the batch of `conftest.py`; `test_golden_logits_are_the_oracles` recomputes them.
"""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from models.tiny_checkpoints import SIZES, shapes_of
from quickstart import minilm

from loren_jax.models import (
    BertConfig,
    BertNetwork,
    Classifier,
    apply_function,
    bind,
    init_params,
    load_classifier,
)

GOLDEN = json.loads(Path(__file__).with_name("golden_bert.json").read_text())
CASES = [("cls", "gelu"), ("cls", "gelu_new"), ("cls", "relu"), ("mean", "gelu"), ("mean", "silu")]


def torch_logits(checkpoint, batch):
    """Logits of stock transformers; for mean pooling its encoder, and the mean by hand."""
    torch = pytest.importorskip("torch")
    import transformers

    config = transformers.BertConfig(**checkpoint.raw)
    state = {name: torch.tensor(tensor) for name, tensor in checkpoint.tensors.items()}
    ids, mask, types = (torch.tensor(np.asarray(array)) for array in batch)
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    with torch.no_grad():
        if checkpoint.raw["pooling"] == "cls":
            model = transformers.BertForSequenceClassification(config).eval()
            model.load_state_dict(state)
            return model(**inputs).logits.numpy()
        head = [state.pop(f"classifier.{part}") for part in ("weight", "bias")]
        encoder = transformers.BertModel(config, add_pooling_layer=False).eval()
        encoder.load_state_dict({n.removeprefix("bert."): t for n, t in state.items()})
        hidden = encoder(**inputs).last_hidden_state
        rows = [row[keep.bool()].mean(0) for row, keep in zip(hidden, mask, strict=True)]
        return torch.nn.functional.linear(torch.stack(rows), *head).numpy()


@functools.cache
def compiled(apply):
    return jax.jit(apply)


def model_of(config, **options):
    return Classifier(config, apply_function(config), init_params(config, **options), ())


def run(model, *batch):
    return compiled(model.apply)(model.params, *batch)


def our_logits(checkpoint, batch, directory):
    model = load_classifier(checkpoint.write(directory))
    return np.asarray(run(model, *batch))


@pytest.mark.parametrize(("pooling", "activation"), CASES)
def test_logits_are_golden(pooling, activation, tiny_checkpoint, batch, tmp_path):
    logits = our_logits(tiny_checkpoint(pooling, hidden_act=activation), batch, tmp_path)
    np.testing.assert_allclose(logits, GOLDEN[f"{pooling}/{activation}"], atol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize(("pooling", "activation"), CASES)
def test_golden_logits_are_the_oracles(pooling, activation, tiny_checkpoint, batch):
    oracle = torch_logits(tiny_checkpoint(pooling, hidden_act=activation), batch)
    np.testing.assert_allclose(oracle, GOLDEN[f"{pooling}/{activation}"], atol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_other_shapes_agree_with_torch(pooling, tiny_checkpoint, batch, tmp_path):
    checkpoint = tiny_checkpoint(
        pooling,
        seed=5,
        hidden_size=12,
        num_hidden_layers=3,
        num_attention_heads=3,
        type_vocab_size=3,
        layer_norm_eps=1e-2,
    )
    oracle = torch_logits(checkpoint, batch)
    np.testing.assert_allclose(our_logits(checkpoint, batch, tmp_path), oracle, atol=1e-5)


@pytest.mark.oracle
def test_minilm_hidden_states_agree_with_torch():
    torch = pytest.importorskip("torch")
    import transformers

    directory = minilm()
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    texts = ["A zeroth-order step needs forward passes only.", "Short.", "Two halves; one whole."]
    tokens = dict(tokenizer(texts, padding=True, return_tensors="np"))
    model = load_classifier(directory, num_labels=2)
    hidden = bind(model.config, model.params).encode(**tokens)
    oracle = transformers.AutoModel.from_pretrained(directory).eval()
    with torch.no_grad():
        wanted = oracle(**{name: torch.tensor(array) for name, array in tokens.items()})
    keep = tokens["attention_mask"] == 1
    found, wanted = np.asarray(hidden)[keep], wanted.last_hidden_state.numpy()[keep]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_parameter_paths_and_shapes():
    square = {f"layers/attention/{name}" for name in ("query", "key", "value", "output")}
    norms = {"layers/attention_norm", "layers/mlp_norm"}
    assert shapes_of(BertConfig(**SIZES, num_labels=3)) == {
        "embeddings/word/embedding": (30, 8),
        "embeddings/position/embedding": (512, 8),
        "embeddings/token_type/embedding": (2, 8),
        "embeddings/norm/scale": (8,),
        "embeddings/norm/bias": (8,),
        **{f"{path}/kernel": (2, 8, 8) for path in square},
        **{f"{path}/bias": (2, 8) for path in square},
        **{f"{path}/{leaf}": (2, 8) for path in norms for leaf in ("scale", "bias")},
        "layers/up/kernel": (2, 8, 12),
        "layers/up/bias": (2, 12),
        "layers/down/kernel": (2, 12, 8),
        "layers/down/bias": (2, 8),
        "pooler/kernel": (8, 8),
        "pooler/bias": (8,),
        "classifier/kernel": (8, 3),
        "classifier/bias": (3,),
    }


@pytest.mark.slow  # Flax compiles a random draw for every shape
def test_initial_parameters_of_the_module():
    config = BertConfig(**{**SIZES, "vocab_size": 2000})
    params = nnx.to_pure_dict(nnx.state(BertNetwork(config, rngs=nnx.Rngs(0))))
    kernel = params["layers"]["up"]["kernel"]
    assert not np.allclose(kernel[0], kernel[1])
    assert not params["layers"]["up"]["bias"].any()
    assert (params["embeddings"]["norm"]["scale"] == 1).all()
    np.testing.assert_allclose(params["embeddings"]["word"]["embedding"].std(), 0.02, rtol=0.05)


def test_token_outside_the_vocabulary_gives_nan():
    model = model_of(BertConfig(**SIZES))
    ids = jnp.array([[1, 30]])
    assert jnp.isnan(run(model, ids, jnp.ones_like(ids))).all()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_padding_does_not_matter(pooling, batch):
    model = model_of(BertConfig(**SIZES, pooling=pooling))
    ids, mask, types = batch
    noise = jnp.where(mask[:3] == 1, ids[:3], 7)
    if pooling == "cls":  # the first token is read even where the mask hides it
        noise = noise.at[:, 0].set(ids[:3, 0])
    logits = run(model, ids[:3], mask[:3], types[:3])
    changed = run(model, noise, mask[:3] == 1, types[:3])
    np.testing.assert_allclose(logits, changed, atol=1e-7)
    short = run(model, ids[1:2, :4], mask[1:2, :4], types[1:2, :4])
    np.testing.assert_allclose(logits[1:2], short, atol=1e-6)


def test_empty_row_gives_finite_logits():
    model = model_of(BertConfig(**SIZES, pooling="mean"))
    ids = jnp.ones((1, 3), jnp.int32)
    assert jnp.isfinite(run(model, ids, jnp.zeros_like(ids))).all()


def test_depth_does_not_grow_the_program(batch):
    def program(depth):
        model = model_of(BertConfig(**{**SIZES, "num_hidden_layers": depth}))
        return str(jax.make_jaxpr(model.apply)(model.params, *batch))

    assert program(2).count("scan[") == 1
    assert program(5).count("dot_general[") == program(2).count("dot_general[")


def test_equal_configs_share_one_compilation(batch):
    first = model_of(BertConfig(**SIZES), key=0)
    second = model_of(BertConfig(**SIZES), key=1)
    assert first.apply is second.apply is apply_function(BertConfig(**SIZES))
    jitted = jax.jit(first.apply)
    logits = jitted(first.params, *batch)
    compilations = jitted._cache_size()
    assert not np.allclose(logits, jax.jit(second.apply)(second.params, *batch))
    assert jitted._cache_size() == compilations


def test_numpy_inputs_are_welcome_and_token_types_default_to_zero(batch):
    model = model_of(BertConfig(**SIZES))
    arrays = [np.asarray(array) for array in batch]
    np.testing.assert_array_equal(run(model, *arrays), run(model, *batch))
    ids, mask, _ = batch
    np.testing.assert_array_equal(run(model, ids, mask), run(model, ids, mask, 0 * ids))


def test_layer_norm_statistics_of_bfloat16_are_float32():
    model = model_of(BertConfig(**SIZES), dtype=jnp.bfloat16)
    ids = jnp.ones((1, 3), jnp.int32)
    program = str(jax.make_jaxpr(model.apply)(model.params, ids, ids))
    reduced = [
        line for line in program.splitlines() if " = reduce_sum[" in line or "= exp " in line
    ]
    assert reduced
    assert all("f32[" in line.split("=")[0] for line in reduced)
