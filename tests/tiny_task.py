"""Models and tasks that train in seconds: a random BERT of 8 numbers a token, and 60 reviews."""

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
MASKED_WORDS = (*WORDS, "[MASK]", "terrible", "all", "in", ",", "it", "was", ".")
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


def write_language_model(directory):
    """A masked language model, and its tokenizer, which knows the words of a prompt for SST-2."""
    directory.mkdir()
    raw = {**RAW, "vocab_size": len(MASKED_WORDS), "architectures": ["BertForMaskedLM"]}
    (directory / "config.json").write_text(json.dumps(raw))
    config = BertConfig.from_hugging_face(
        {**raw, "mask_token_id": MASKED_WORDS.index("[MASK]")}, head="language_model"
    )
    table = FAMILIES["bert"].weight_table(config)
    rng = np.random.default_rng(0)
    tensors = {
        name: (0.3 * rng.standard_normal(shape)).astype(np.float32)
        for name, (_, shape) in sorted(table.tensor_rows(abstract_params(config)).items())
    }
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    _tokenizer(MASKED_WORDS, mask_token="[MASK]").save_pretrained(directory)
    return directory


def write_task(data_dir, train=60, dev=20):
    """SST-2 in the form of its files, with reviews of `write_data`."""
    (data_dir / "sst2").mkdir(parents=True)
    write_data(data_dir / "sst2" / "train.tsv", train, labels=("0", "1"))
    write_data(data_dir / "sst2" / "dev.tsv", dev, labels=("0", "1"))
    return data_dir


def _tokenizer(words=WORDS, **tokens):
    inner = Tokenizer(
        WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]")
    )
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", **tokens
    )


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
