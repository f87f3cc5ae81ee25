"""Checkpoints on disk: tensors, configuration and tokenizer of a model, in every format we read.

Typical use::

    source = open_checkpoint("model.gguf")
    config = checkpoint_config("model.gguf")
    tokenizer = checkpoint_tokenizer("model.gguf")
    tensor = source.read("model.embed_tokens.weight")

Tensors are read one at a time, so that a large checkpoint is never in memory twice. Nothing that a
checkpoint holds is ever executed.
"""

from loren_jax.checkpoints.directory import CONFIG, read_json, write_directory
from loren_jax.checkpoints.opening import checkpoint_config, open_checkpoint
from loren_jax.checkpoints.source import TensorSource, read_part
from loren_jax.checkpoints.tokenizers import TOKENIZER, checkpoint_tokenizer, tokenizer_files

__all__ = [
    "CONFIG", "TOKENIZER", "TensorSource", "checkpoint_config", "checkpoint_tokenizer",
    "open_checkpoint", "read_json", "read_part", "tokenizer_files", "write_directory",
]  # fmt: skip
