"""The metadata becomes the config.json that transformers would have written."""

import numpy as np
import pytest
from checkpoints.gguf_files import stored_tensors, write_gguf

from loren_jax.checkpoints.gguf.config import gguf_config, llama3_factors
from loren_jax.checkpoints.gguf.header import read_gguf_header
from loren_jax.models.rotary import Rotary


def config_of(path, **options):
    return gguf_config(read_gguf_header(write_gguf(path, **options)))


def test_every_size_is_told(tmp_path):
    config = config_of(
        tmp_path / "model.gguf",
        numbers={"attention.key_length": 8, "rope.dimension_count": 8},
    )
    assert config == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 11,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "hidden_act": "silu",
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "rope_scaling": None,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }


def test_output_matrix_and_biases_are_seen(tmp_path):
    tensors = stored_tensors()
    tensors |= {"output.weight": tensors["token_embd.weight"]}
    tensors |= {"blk.0.attn_q.bias": np.ones(32, np.float32)}
    config = config_of(tmp_path / "model.gguf", tensors=tensors)
    assert not config["tie_word_embeddings"]
    assert config["attention_bias"]


def test_linear_scaling_is_told(tmp_path):
    path, kind = tmp_path / "model.gguf", {"llama.rope.scaling.type": "linear"}
    config = config_of(path, numbers={"rope.scaling.factor": 4.0}, texts=kind)
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}


def test_yarn_is_told(tmp_path):
    numbers = {"rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 32768}
    kind = {"qwen2.rope.scaling.type": "yarn"}
    config = config_of(tmp_path / "model.gguf", family="qwen2", numbers=numbers, texts=kind)
    rotary = Rotary.from_hugging_face(config)
    assert (rotary.kind, rotary.factor, rotary.original_length) == ("yarn", 4.0, 32768)


def test_llama3_factors_are_what_the_network_divides_by():
    rotary = Rotary(theta=500000.0, kind="llama3", factor=8.0)
    factors = llama3_factors(500000.0, 128, 8.0, 8192)
    assert 1 < np.sum((factors > 1) & (factors < 8)) < 64
    plain = 500000.0 ** -(np.arange(0, 128, 2) / 128)
    np.testing.assert_allclose(plain / factors, rotary.frequencies(128), rtol=1e-6)


@pytest.mark.parametrize(("factor", "length"), [(8.0, 8192), (32.0, 8192), (8.0, 1024)])
def test_llama3_scaling_is_recovered(factor, length, tmp_path):
    factors = llama3_factors(500000.0, 8, factor, length).astype(np.float32)
    tensors = {**stored_tensors(), "rope_freqs.weight": factors}
    scaling = config_of(tmp_path / "model.gguf", tensors=tensors)["rope_scaling"]
    assert (scaling["rope_type"], scaling["factor"]) == ("llama3", factor)
    assert scaling["original_max_position_embeddings"] == length


@pytest.mark.parametrize(
    ("factors", "message"),
    [([1, 2, 3, 4], "not those of a Llama-3 scaling"), ([1, 8], "must have 4 elements")],
)
def test_unknown_scaling_is_refused(factors, message, tmp_path):
    tensors = {**stored_tensors(), "rope_freqs.weight": np.array(factors, np.float32)}
    with pytest.raises(ValueError, match=message):
        config_of(tmp_path / "model.gguf", tensors=tensors)


REFUSED = {
    "family": ({"family": "phi3"}, r"of the family 'phi3'; the families that are read are \['gem"),
    "cap": ({"family": "qwen3", "numbers": {"final_logit_softcapping": 2.0}}, "qwen3.final_logit_"),
    "option": ({"numbers": {"logit_scale": 2.0}}, r"option 'llama\.logit_scale' is not"),
    "experts": ({"numbers": {"expert_count": 8}}, "mixture of experts"),
    "long": ({"texts": {"llama.rope.scaling.type": "longrope"}}, "type='longrope' is not"),
    "yarn": ({"texts": {"llama.rope.scaling.type": "yarn"}}, r"has no 'llama\.rope\.scaling\.fac"),
    "partial": ({"numbers": {"rope.dimension_count": 4}}, "dimension_count=4 is not supported"),
    "heads": ({"numbers": {"attention.head_count": 0}}, "number of heads"),
    "embedding": ({"tensors": {}}, "no tensor 'token_embd.weight'"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_would_compute_something_else_is_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        config_of(tmp_path / "model.gguf", **options)
