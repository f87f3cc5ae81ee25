"""Tensors of a GGUF file, under Hugging Face's names and in its layout."""

import importlib
import math
import re
from pathlib import Path
from types import ModuleType

import numpy as np

from loren_jax.checkpoints.gguf.architectures import Architecture, architecture_of
from loren_jax.checkpoints.gguf.config import ROPE_FACTORS, head_counts
from loren_jax.checkpoints.gguf.header import BlockTensor, GGUFHeader, read_gguf_header
from loren_jax.quantised.forms import FORMS

PLAIN = {0: ("F32", np.dtype("<f4")), 1: ("F16", np.dtype("<f2"))}
"""Packings that are arrays already; all others are dequantised to F32."""

_WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


class GGUFFile:
    """The tensors of one GGUF file; quantised ones are dequantised one at a time.

    For those the package `gguf` is needed, else an ImportError. A file that is damaged, of
    another family, or has tensors that its family has not is a ValueError.
    """

    def __init__(self, path: Path):
        self.name = str(path)
        header = read_gguf_header(path)
        self._architecture = architecture_of(header)
        self._heads = head_counts(header)
        size = path.stat().st_size
        self._stored = {}
        self._sizes = {}
        for stored, tensor in header.tensors.items():
            if stored == ROPE_FACTORS:  # no parameter, but part of the configuration
                continue
            name = _hugging_face_name(header, self._architecture, stored)
            self._stored[name] = (stored, tensor)
            self._sizes[stored] = _byte_shape(header, stored, tensor)
            if tensor.offset + math.prod(self._sizes[stored]) > size:
                raise ValueError(
                    f"{path} is damaged or incomplete: tensor {stored!r} ends beyond the file; "
                    "delete it and fetch it again"
                )

    def names(self) -> list[str]:
        """Names of all tensors."""
        return list(self._stored)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        return self._stored[name][1].shape

    def dtype(self, name: str) -> str:
        """Element type of one tensor as `read` gives it: F16, else F32."""
        kind = self._stored[name][1].kind
        return PLAIN[kind][0] if kind in PLAIN else "F32"

    def packing(self, name: str) -> str:
        """How one tensor is packed, by GGUF's name for it, for example `Q4_K`."""
        kind = self._stored[name][1].kind
        if kind in PLAIN:
            return PLAIN[kind][0]
        return _quantisation(self.name).GGMLQuantizationType(kind).name

    def place(self, name: str) -> tuple[int, tuple[int, ...]]:
        """Where the bytes of one tensor begin, and their shape: rows by bytes of a row."""
        stored, tensor = self._stored[name]
        return tensor.offset, self._sizes[stored]

    def turned_heads(self, name: str) -> int | None:
        """Heads whose features stand in the file in another order than here; see `half_split`."""
        stored = self._stored[name][0]
        for part, heads in zip(("attn_q", "attn_k"), self._heads, strict=True):
            if f".{part}." in stored and self._architecture.interleaved:
                return heads
        return None

    def norm_excess(self, name: str) -> float:
        """By how much the numbers in the file exceed those that are read."""
        norm = self._stored[name][0].endswith("_norm.weight")
        return self._architecture.norm_excess if norm else 0.0

    def blocks(self, name: str) -> np.ndarray:
        """The packed bytes of one matrix, `(rows, blocks, bytes)`, in the order of its rows.

        It must be packed in one of the forms of `loren_jax.quantised`.
        """
        form, heads = FORMS[self.packing(name)], self.turned_heads(name)
        rows = self._raw(name)
        rows = rows.reshape(len(rows), -1, form.size)
        return rows if heads is None else half_split(rows, heads)

    def _raw(self, name: str) -> np.ndarray:
        start, shape = self.place(name)
        # Read and not mapped: what is mapped counts as the process's memory as long as it is.
        return np.fromfile(self.name, np.uint8, math.prod(shape), offset=start).reshape(shape)

    def read(self, name: str) -> np.ndarray:
        """One tensor."""
        stored, tensor = self._stored[name]
        blocks, heads = self._raw(name), self.turned_heads(name)
        if tensor.kind in PLAIN:
            rows = blocks.view(PLAIN[tensor.kind][1]).reshape(tensor.shape)
        else:
            gguf = _quantisation(self.name)
            packing = gguf.GGMLQuantizationType(tensor.kind)
            try:
                rows = gguf.quants.dequantize(np.asarray(blocks), packing)
            except NotImplementedError as error:
                raise ValueError(
                    f"{self.name}: tensor {stored!r} is packed as {packing.name}, which the "
                    "package gguf cannot unpack; take another quantisation of the model"
                ) from error
        if excess := self.norm_excess(name):
            return rows - np.float32(excess)
        return rows if heads is None else half_split(rows, heads)


def half_split(rows: np.ndarray, heads: int) -> np.ndarray:
    """Reorders the rows of a query or key projection for Hugging Face's rotary embedding.

    A rotary embedding turns pairs of features. GGUF stores the two of a pair as neighbours,
    Hugging Face half a head apart.

    >>> half_split(np.array([0, 10, 1, 11, 2, 12, 3, 13]), heads=2).tolist()
    [0, 1, 10, 11, 2, 3, 12, 13]
    """
    pairs = rows.reshape(heads, -1, 2, *rows.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def neighbours(rows: np.ndarray, heads: int) -> np.ndarray:
    """The inverse of `half_split`: the rows as GGUF has them.

    >>> neighbours(np.array([0, 1, 10, 11, 2, 3, 12, 13]), heads=2).tolist()
    [0, 10, 1, 11, 2, 12, 3, 13]
    """
    pairs = rows.reshape(heads, 2, -1, *rows.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def _hugging_face_name(header: GGUFHeader, architecture: Architecture, stored: str) -> str:
    if stored in _WHOLE:
        return _WHOLE[stored]
    layer = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", stored)
    if layer is None or layer[2] not in architecture.tensors:
        raise ValueError(
            f"{header.path}: tensor {stored!r} is no part of a model of the family "
            f"{architecture.name!r}"
        )
    return f"model.layers.{layer[1]}.{architecture.tensors[layer[2]]}.{layer[3]}"


def _byte_shape(header: GGUFHeader, stored: str, tensor: BlockTensor) -> tuple[int, ...]:
    """Shape of the tensor's bytes: rows by bytes of a row."""
    *rows, row = tensor.shape or (1,)
    if tensor.kind in PLAIN:
        return (*rows, row * PLAIN[tensor.kind][1].itemsize)
    gguf = _quantisation(str(header.path))
    try:
        elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(tensor.kind)]
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{header.path}: tensor {stored!r} has packing {tensor.kind}, which the installed "
            "package gguf does not know; upgrade it"
        ) from error
    if row % elements:
        raise ValueError(
            f"{header.path} is damaged: rows of {row} elements in {stored!r}, which is packed in "
            f"blocks of {elements}"
        )
    return (*rows, row // elements * size)


def _quantisation(name: str) -> ModuleType:
    try:
        return importlib.import_module("gguf")
    except ImportError as error:
        raise ImportError(
            f"{name} holds quantised tensors; to read them, pip install 'loren-jax[gguf]'"
        ) from error
