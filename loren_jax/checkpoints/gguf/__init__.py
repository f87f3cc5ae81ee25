"""GGUF files of Llama and its kin, in the form that the rest of the library knows.

`header` finds metadata and tensors, and `config`, `tensors` and `tokenizer` make of them
what a Hugging Face directory has. Only quantised tensors need the package `gguf`.
"""

from loren_jax.checkpoints.gguf.config import gguf_config
from loren_jax.checkpoints.gguf.header import MAGIC, read_gguf_header
from loren_jax.checkpoints.gguf.tensors import GGUFFile
from loren_jax.checkpoints.gguf.tokenizer import gguf_tokenizer

__all__ = ["MAGIC", "GGUFFile", "gguf_config", "gguf_tokenizer", "read_gguf_header"]
