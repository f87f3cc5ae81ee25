"""Models of llama2.c: one binary file of a header and float32 arrays.

Seven int32 numbers, then the arrays in a fixed order, each stacked over the layers. Queries and
keys are laid out for rotation of neighbouring features, and two tables of the rotation, which
nobody needs, precede the output matrix. A negative vocabulary size announces such a matrix; else
the embedding serves.
"""

import math
import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from loren_jax.checkpoints.llama_layout import half_split

BOS, EOS = 1, 2
_HEADER = struct.Struct("<7i")
_NEWER_MAGIC = b"24ka"


class Llama2cHeader(NamedTuple):
    """Sizes of a model.

    Attributes:
        width: Features of a token.
        hidden: Features inside the feed-forward network.
        layers: Number of layers.
        heads: Number of query heads.
        key_heads: Number of key heads.
        vocabulary: Number of tokens.
        length: Longest sequence.
        tied: Whether the output matrix is the embedding.
    """

    width: int
    hidden: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int
    length: int
    tied: bool

    def arrays(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of each array in the file's order; tables not wanted begin with ``_``."""
        width, hidden, layers = self.width, self.hidden, self.layers
        head = width // self.heads
        keys = head * self.key_heads
        layer = "model.layers.{}"
        arrays: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocabulary, width),
            f"{layer}.input_layernorm.weight": (layers, width),
            f"{layer}.self_attn.q_proj.weight": (layers, width, width),
            f"{layer}.self_attn.k_proj.weight": (layers, keys, width),
            f"{layer}.self_attn.v_proj.weight": (layers, keys, width),
            f"{layer}.self_attn.o_proj.weight": (layers, width, width),
            f"{layer}.post_attention_layernorm.weight": (layers, width),
            f"{layer}.mlp.gate_proj.weight": (layers, hidden, width),
            f"{layer}.mlp.down_proj.weight": (layers, width, hidden),
            f"{layer}.mlp.up_proj.weight": (layers, hidden, width),
            "model.norm.weight": (width,),
            "_cosines": (self.length, head // 2),
            "_sines": (self.length, head // 2),
        }
        return arrays if self.tied else {**arrays, "lm_head.weight": (self.vocabulary, width)}


def read_llama2c_header(path: Path) -> Llama2cHeader:
    """Reads the sizes and checks them against the file's.

    Args:
        path: The file.

    Returns:
        The sizes.

    Raises:
        ValueError: If the file is no float32 model of llama2.c, or damaged.
    """
    with path.open("rb") as file:
        start = file.read(_HEADER.size)
    if start.startswith(_NEWER_MAGIC):
        raise ValueError(
            f"{path} is a newer llama2.c file; export it with --version 0, the float32 format"
        )
    if len(start) < _HEADER.size:
        raise ValueError(f"{path} is no model of llama2.c; fetch it again")
    width, hidden, layers, heads, key_heads, vocabulary, length = _HEADER.unpack(start)
    header = Llama2cHeader(
        width, hidden, layers, heads, key_heads, abs(vocabulary), length, tied=vocabulary > 0
    )
    plausible = min(header[:-1]) > 0 and (
        header.width % (2 * header.heads) == 0 and header.heads % header.key_heads == 0
    )
    if not plausible:
        raise ValueError(f"{path} is no model of llama2.c; fetch it again")
    wanted = _HEADER.size + 4 * sum(map(math.prod, header.arrays().values()))
    if path.stat().st_size != wanted:
        raise ValueError(
            f"{path} is no model of llama2.c, or damaged: its header asks for {wanted} bytes, it "
            f"has {path.stat().st_size}; fetch it again"
        )
    return header


def is_llama2c(path: Path) -> bool:
    """Whether a file is a float32 model of llama2.c.

    Args:
        path: The file.

    Returns:
        Whether its size is what its header asks for.
    """
    try:
        read_llama2c_header(path)
    except ValueError:
        return False
    return True


def llama2c_config(header: Llama2cHeader) -> dict[str, Any]:
    """What ``config.json`` would say; what the header leaves out is fixed by llama2.c.

    Args:
        header: The sizes.

    Returns:
        The configuration, as Hugging Face spells it.
    """
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": header.vocabulary,
        "hidden_size": header.width,
        "intermediate_size": header.hidden,
        "num_hidden_layers": header.layers,
        "num_attention_heads": header.heads,
        "num_key_value_heads": header.key_heads,
        "hidden_act": "silu",
        "max_position_embeddings": header.length,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": header.tied,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": EOS,
    }


class Llama2cFile:
    """The tensors of a llama2.c model, under Hugging Face's names and in its layout.

    Args:
        path: The file.

    Attributes:
        name: The file, for errors.

    Raises:
        ValueError: If the file is no model of llama2.c, or damaged.
    """

    def __init__(self, path: Path):
        self.name = str(path)
        self._header = read_llama2c_header(path)
        self._tensors: dict[str, np.ndarray] = {}
        start = _HEADER.size
        for name, shape in self._header.arrays().items():
            stored = np.memmap(path, "<f4", "r", start, shape)
            start += 4 * math.prod(shape)
            if "{}" in name:
                layers = {name.format(layer): stored[layer] for layer in range(shape[0])}
                self._tensors.update(layers)
            elif not name.startswith("_"):
                self._tensors[name] = stored

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        return self._tensors[name].shape

    def dtype(self, name: str) -> str:
        """Element type of one tensor, always F32."""
        self._tensors[name]
        return "F32"

    def read(self, name: str) -> np.ndarray:
        """One tensor."""
        rows = np.array(self._tensors[name])
        turned = re.search(r"\.(q|k)_proj\.", name)
        if turned is None:
            return rows
        heads = self._header.heads if turned[1] == "q" else self._header.key_heads
        return half_split(rows, heads)
