"""From a model of llama2.c to a Hugging Face directory, which the library reads.

    python -m benchmarks llama2c stories260K.bin stories260K

The model is one file: seven int32 numbers, then float32 arrays in a fixed order, each stacked over
the layers. Queries and keys are laid out for rotation of neighbouring features, and two tables of
the rotation, which nobody needs, precede the output matrix. A negative vocabulary size announces
such a matrix; else the embedding serves. The tokenizer is the one file `tok*.bin` beside it with as
many pieces: the longest piece's length, then score, length and text of every piece.
"""

import argparse
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from loren_jax.checkpoints import write_directory
from loren_jax.checkpoints.gguf.sentencepiece import SPACE, Kind, Piece, sentencepiece_tokenizer
from loren_jax.checkpoints.gguf.tensors import half_split
from loren_jax.checkpoints.gguf.tokenizer import fast_tokenizer

HEADER, ENTRY = struct.Struct("<7i"), struct.Struct("<fi")
SPECIAL = (("<unk>", Kind.UNKNOWN), ("<s>", Kind.CONTROL), ("</s>", Kind.CONTROL))
FIRST_BYTE = len(SPECIAL)


def convert(model: Path, directory: Path) -> Path:
    """Writes a directory that `load_language_model` and transformers read, and returns it."""
    config, tensors = read_model(model)
    pieces = read_pieces(model, config["vocab_size"])
    tokenizer = fast_tokenizer(
        sentencepiece_tokenizer(pieces, unknown=0),
        {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"},
        add_bos=True,
        max_length=config["max_position_embeddings"],
    )
    write_directory(directory, tensors=tensors, config=config)
    tokenizer.save_pretrained(directory)
    return directory


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `config.json` would say, and the tensors under Hugging Face's names."""
    content = path.read_bytes()
    sizes = HEADER.unpack(content[: HEADER.size].ljust(HEADER.size, b"\0"))
    width, hidden, layers, heads, key_heads, vocabulary, length = (abs(size) for size in sizes)
    if 0 in sizes or width % (2 * heads) or heads % key_heads:
        raise ValueError(f"{path} is no float32 model of llama2.c; export it with --version 0")
    keys, layer = width // heads * key_heads, "model.layers.{}."
    shapes = {
        "model.embed_tokens": (vocabulary, width),
        layer + "input_layernorm": (layers, width),
        layer + "self_attn.q_proj": (layers, width, width),
        layer + "self_attn.k_proj": (layers, keys, width),
        layer + "self_attn.v_proj": (layers, keys, width),
        layer + "self_attn.o_proj": (layers, width, width),
        layer + "post_attention_layernorm": (layers, width),
        layer + "mlp.gate_proj": (layers, hidden, width),
        layer + "mlp.down_proj": (layers, width, hidden),
        layer + "mlp.up_proj": (layers, hidden, width),
        "model.norm": (width,),
        "rotation": (2 * length, width // heads // 2),
        "lm_head": (0 if sizes[5] > 0 else vocabulary, width),
    }
    wanted = HEADER.size + 4 * sum(map(math.prod, shapes.values()))
    if len(content) != wanted:
        raise ValueError(f"{path}: its header asks for {wanted} bytes, it has {len(content)}")
    tensors, at = {}, HEADER.size
    for name, shape in shapes.items():
        array = np.frombuffer(content, "<f4", math.prod(shape), at).reshape(shape)
        at += array.nbytes
        turned = heads if "q_proj" in name else key_heads if "k_proj" in name else 0
        for number, part in enumerate(array if "{}" in name else array[None]):
            rows = half_split(part, turned) if turned else part
            tensors[f"{name.format(number)}.weight"] = np.ascontiguousarray(rows)
    del tensors["rotation.weight"]
    if sizes[5] > 0:
        del tensors["lm_head.weight"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "max_position_embeddings": length,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": sizes[5] > 0,
        **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2},
    }, tensors


def read_pieces(model: Path, vocabulary: int) -> list[Piece]:
    """The pieces of the tokenizer beside the model that has as many."""
    found = [_pieces(file.read_bytes()) for file in model.parent.glob("tok*.bin") if file != model]
    fitting = [pieces for pieces in found if len(pieces) == vocabulary]
    if len(fitting) != 1:
        raise ValueError(f"{model}: {len(fitting)} files tok*.bin beside it fit it; leave one")
    return fitting[0]


def _pieces(content: bytes) -> list[Piece]:
    pieces, at = [], 4
    while at < len(content):
        score, size = ENTRY.unpack_from(content, at)
        at += ENTRY.size + size
        text, number = content[at - size : at].decode("utf-8"), len(pieces)
        if number < FIRST_BYTE:
            pieces.append(Piece(SPECIAL[number][0], score, SPECIAL[number][1]))
        elif text == f"<0x{number - FIRST_BYTE:02X}>":
            pieces.append(Piece(text, score, Kind.BYTE))
        else:
            pieces.append(Piece(text.replace(" ", SPACE), score, Kind.NORMAL))
    return pieces


def main() -> None:
    """Reads the two paths."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("directory", type=Path)
    convert(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
