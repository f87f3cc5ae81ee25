"""Which axis of which parameter is sharded."""

import pytest
from eight_devices import RUNS, found
from jax.sharding import PartitionSpec
from models.tiny_checkpoints import DECODERS, shapes_of

from loren_jax.models import FAMILIES, tensor_parallel

SPLIT = {
    "llama": {
        "word": 0, "query": 2, "key": 2, "value": 2, "output": 1, "gate": 2, "up": 2, "down": 1
    },
    "qwen3": {"query": 2, "key": 2, "value": 2, "output": 1, "gate": 2, "up": 2, "down": 1},
    "gpt2": {"output": 1, "up": 2, "down": 1},
    "opt": {"query": 2, "key": 2, "value": 2, "output": 1, "up": 2, "down": 1},
}  # fmt: skip


@pytest.mark.parametrize("family", SPLIT)
def test_kernels_of_every_decoder(family):
    raw = DECODERS[family] | ({"vocab_size": 12} if family == "llama" else {})
    config = FAMILIES[family].config.from_hugging_face(
        raw, num_labels=2, pooling=None, head="language_model"
    )
    spec, split = tensor_parallel("model", 2), {}
    for path, shape in shapes_of(config).items():
        if len(shape) > 1 and not path.endswith("bias"):
            placed = spec(path, shape)
            if placed != PartitionSpec():
                split[path.split("/")[-2]] = placed.index("model")
    lm_head = {"lm_head": 1} if "lm_head" in split else {}
    assert split == SPLIT[family] | lm_head


def test_what_cannot_be_divided_is_whole():
    spec = tensor_parallel("model", 4)
    assert spec("word/embedding", (13, 8)) == PartitionSpec()
    assert spec("layers/up/bias", (2, 8)) == PartitionSpec(None, "model")
    assert spec("classifier/output/kernel", (8, 8)) == PartitionSpec()
    assert spec("layers/attention_norm/scale", (2, 8)) == PartitionSpec()


@pytest.mark.slow
@pytest.mark.xdist_group("eight devices")
@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_each_part_of_a_checkpoint_is_read_once(kind):
    own = found(*RUNS)["reading"][kind]
    assert own["equal"]
    assert own["spec"] == "P(None, None, 'model')"
    assert own["part"] == [2, 32, 6]
    # Two layers, four parts each, though two groups of devices want them; a norm is read whole.
    assert own["down"] == [0.25] * 8
    assert own["norm"] == [1.0]


@pytest.mark.slow
@pytest.mark.xdist_group("eight devices")
def test_packed_matrices_are_divided_by_rows_and_by_whole_blocks():
    own = found(*RUNS)["packed"]
    assert own["up"] == {"codes": [2, 32, 16], "scales": [2, 32, 1]}  # half of 64 outputs
    assert own["down"] == {"codes": [2, 32, 16], "scales": [2, 32, 1]}  # one block of two
    assert own["output"] == {"codes": [2, 32, 16], "scales": [2, 32, 1]}  # one block alone
