"""A model and a task that train in seconds: a random BERT of 8 numbers a token, and 60 reviews."""

import json

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from loren_jax.models import FAMILIES, BertConfig
from loren_jax.models.families import abstract_params

GOOD, BAD = ("fine", "great", "superb"), ("awful", "dull", "weak")
NEUTRAL = ("film", "plot", "actor", "scene")
WORDS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", *GOOD, *BAD, *NEUTRAL)
RAW = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": len(WORDS),
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "pad_token_id": 0,
}


def write_model(directory, **changes):
    """An encoder without a head, and its tokenizer."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({**RAW, **changes}))
    config = BertConfig.from_hugging_face(RAW, num_labels=2, pooling="mean")
    table = FAMILIES["bert"].weight_table(config)
    rng = np.random.default_rng(0)
    tensors = {
        name.removeprefix("bert."): (0.3 * rng.standard_normal(shape)).astype(np.float32)
        for name, (_, shape) in sorted(table.tensor_rows(abstract_params(config)).items())
        if not name.startswith("classifier.")
    }
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    _tokenizer().save_pretrained(directory)
    return directory


def _tokenizer():
    inner = Tokenizer(
        WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]")


def write_data(path, count=60, labels=("negative", "positive")):
    """Reviews that a bag of words tells apart."""
    rng = np.random.default_rng(1)
    lines = ["sentence\tlabel"]
    for number in range(count):
        words = [*rng.choice(NEUTRAL, 3), *rng.choice((BAD, GOOD)[number % 2], 2)]
        lines.append(f"{' '.join(rng.permutation(words))}\t{labels[number % 2]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def train_arguments(model, data, output, *more):
    """A command line that takes a few seconds."""
    fixed = (
        f"train --model {model} --data {data} --output {output} --pooling mean --steps 6 "
        "--batch-size 8 --max-length 16 --train-examples 40 --held-out-examples 20 "
        "--eval-every 4 --eval-batch-size 8 --learning-rate 0.05 --num-directions 4"
    )
    return [*fixed.split(), *more]
