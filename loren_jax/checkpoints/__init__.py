"""Checkpoints on disk: tensors, configuration and tokenizer of a model, in every format we read.

Typical use::

    source = open_checkpoint("model.gguf")
    config = checkpoint_config("model.gguf")
    tokenizer = checkpoint_tokenizer("model.gguf")
    tensor = source.read("model.embed_tokens.weight")

Tensors are read one at a time, so that a large checkpoint is never in memory twice. Nothing that a
checkpoint holds is ever executed.
"""

from loren_jax.checkpoints.directory import write_directory as write_directory
from loren_jax.checkpoints.json_files import CONFIG as CONFIG
from loren_jax.checkpoints.json_files import read_json as read_json
from loren_jax.checkpoints.opening import checkpoint_config as checkpoint_config
from loren_jax.checkpoints.opening import open_checkpoint as open_checkpoint
from loren_jax.checkpoints.source import TensorSource as TensorSource
from loren_jax.checkpoints.source import read_part as read_part
from loren_jax.checkpoints.tokenizers import TOKENIZER as TOKENIZER
from loren_jax.checkpoints.tokenizers import checkpoint_tokenizer as checkpoint_tokenizer
from loren_jax.checkpoints.tokenizers import tokenizer_files as tokenizer_files
