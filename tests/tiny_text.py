"""A language model of 8 numbers a token that reads bytes, and dialogues that take no time."""

import json

import numpy as np
from prompt_tokenizers import byte_tokenizer
from safetensors.numpy import save_file

from loren_jax.models import FAMILIES
from loren_jax.models.families import abstract_params
from loren_jax.objectives import TextConfig

RAW = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
}
CHATML = (
    "{% for m in messages %}{% if m['role'] == 'tool' %}{{ raise_exception('no tools here') }}"
    "{% endif %}<{{ m['role'][0] }}>{{ m['content'] }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}<a>{% endif %}"
)
"""A chat template in the manner of ChatML, in few bytes."""


def write_decoder(directory, *, template=None, eos="<eos>", **changes):
    """A causal language model, and its tokenizer."""
    directory.mkdir()
    tokenizer = byte_tokenizer(eos=eos)
    tokenizer.chat_template = template
    raw = {**RAW, "vocab_size": len(tokenizer), **changes}
    (directory / "config.json").write_text(json.dumps(raw))
    config = FAMILIES["llama"].config.from_hugging_face(raw, head="language_model")
    table = FAMILIES["llama"].weight_table(config)
    rng = np.random.default_rng(0)
    rows = table.tensor_rows(abstract_params(config))
    tensors = {
        name: (0.3 * rng.standard_normal(shape)).astype(np.float32)
        for name, (_, shape) in sorted(rows.items())
    }
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(directory)
    return directory


def write_dialogues(path, count=60):
    """Prompts of three lengths, each with one of two answers."""
    rng = np.random.default_rng(1)
    rows = []
    for number in range(count):
        a, b = rng.integers(1, 9, 2)
        prompt = " ".join([f"{a}-{b}"] * (1 + number % 3))
        rows.append({"prompt": prompt, "completion": " good" if a > b else " bad"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def text_arguments(model, data, output, *more):
    """A command line that takes a few seconds."""
    fixed = (
        f"train --objective text --model {model} --data {data} --output {output} --steps 6 "
        "--batch-size 4 --eval-every 4 --eval-batch-size 8 --learning-rate 0.01 "
        "--num-directions 4 --max-length 60 --buckets 2"
    )
    return [*fixed.split(), *more]


def text_objective(place, **options):
    """What is asked of such a model with such dialogues, in batches of 4."""
    return TextConfig(
        model=str(write_decoder(place / "decoder")),
        data=str(write_dialogues(place / "dialogues.jsonl")),
        batch_size=4,
        **options,
    )
