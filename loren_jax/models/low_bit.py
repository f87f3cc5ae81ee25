"""Weights that stay in few bits: which of a model's matrices, and how they are read.

No matrix of a model is ever whole in floats here, but the one tensor that is being packed.
"""

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.typing import DTypeLike

from loren_jax.checkpoints import TensorSource
from loren_jax.quantised import Quantised
from loren_jax.quantised.absmax import quantise_rows
from loren_jax.quantised.forms import FORMS, Fields, Form, common_form, convert

Kind = Literal["file", "int8", "int4", "bfloat16", "float16"]
KINDS: tuple[str, ...] = get_args(Kind)
SCALES = "scales"
_FLOATS = ("F32", "F64")
_BLOCK = 32


@dataclass(frozen=True)
class Storage:
    """How the matrices are kept that are not trained as floats; vectors and heads are floats.

    Attributes:
      kind: As the `file` has them, or packed when they are read: `int8` or `int4` in blocks of
        32, or floats of 16 bits.
      trained: Patterns of paths. A matrix that one matches stays a float; scales that one matches
        are float32, and else as they are in the file.

    >>> storage = Storage("int4", ("score/*", "*/scales"))
    >>> storage.packs("layers/up/kernel", (2, 64, 128)), storage.packs("score/kernel", (64, 2))
    (True, False)
    """

    kind: Kind
    trained: tuple[str, ...] = ()

    def packs(self, path: str, shape: tuple[int, ...]) -> bool:
        """Whether a parameter of this shape may be kept in few bits."""
        kernel = path.endswith("/kernel")
        if not (kernel or path.endswith("embedding")) or self.trains(path):
            return False
        fan_in = shape[-2] if kernel else shape[-1]
        return not self.kind.startswith("int") or fan_in % _BLOCK == 0

    def trains(self, path: str) -> bool:
        """Whether a pattern of what is trained matches a path."""
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self.trained)


def packed_leaf(
    source: TensorSource,
    names: Sequence[str],
    storage: Storage,
    *,
    path: str,
    stacked: bool,
    transposed: bool,
    dtype: DTypeLike,
    sharding: Callable[[str, tuple[int, ...]], NamedSharding] | None,
) -> Quantised | None:
    """One parameter, kept in few bits; None where the file has it in floats of 32.

    A ValueError if the file packs it in a way that is not known, the layers do so differently, or a
    scale is not finite.

    Args:
      source: The checkpoint.
      names: Its tensors, layer by layer.
      storage: How to keep it.
      path: The parameter's path.
      stacked: Whether it has an axis of layers.
      transposed: Whether the checkpoint keeps it as `(fan_out, fan_in)`.
      dtype: Element type of the floats that it becomes.
      sharding: `(path, shape)` of a part of it to its devices.
    """
    kernel = path.endswith("/kernel")
    packings = [_packing(source, name) for name in names]
    form = None
    if storage.kind == "file":
        if all(packing in _FLOATS for packing in packings):
            return None
        form = _common(source, names, packings)
    wide = storage.trains(f"{path}/{SCALES}")
    parts: dict[str, np.ndarray] = {}
    for layer, name in enumerate(names):
        own, fields = _fields(
            source, name, storage.kind, packings[layer], kernel and not transposed
        )
        form = form or own
        for field, values in convert(own, fields, form).items():
            dtype_of = np.float32 if wide and field == SCALES else values.dtype
            if not stacked:  # no copy of what may be the largest leaf
                parts[field] = values.astype(dtype_of, copy=False)[None]
                continue
            if layer == 0:
                parts[field] = np.empty((len(names), *values.shape), dtype_of)
            parts[field][layer] = values
    assert form is not None
    if not stacked:
        parts = {field: part[0] for field, part in parts.items()}
    # Of all parts alike: whatever divides the blocks divides the codes, but not the other way.
    told = SCALES if SCALES in parts else "codes"
    place = None if sharding is None else sharding(f"{path}/{told}", parts[told].shape)
    arrays = {field: jax.device_put(part, place) for field, part in parts.items()}
    return Quantised(**arrays, name=form.name, dtype=jnp.dtype(dtype).name, kernel=kernel)


def _fields(
    source: TensorSource, name: str, kind: Kind, packing: str, rows_last: bool
) -> tuple[Form, Fields]:
    """One tensor in few bits, row by row; a ValueError unless its scales are finite."""
    turned = lambda rows: rows.T if rows_last else rows
    if kind != "file":
        try:
            form, fields = quantise_rows(turned(source.read(name)), kind)
        except ValueError as error:
            raise ValueError(f"{source.name}: tensor {name!r}: {error}") from error
    elif FORMS[packing].block == 1:
        codes = turned(source.read(name))
        bits = codes.view(np.uint16) if packing == "BF16" else codes
        form, fields = FORMS[packing], {"codes": bits}
    else:
        form = FORMS[packing]
        fields = form.fields(source.blocks(name))  # pyrefly: ignore[missing-attribute]
    if not all(np.all(np.isfinite(fields[n])) for n in (SCALES, "minima") if n in fields):
        raise ValueError(
            f"{source.name} is damaged: tensor {name!r} has a scale that is not finite; fetch it "
            "again"
        )
    return form, fields


def _packing(source: TensorSource, name: str) -> str:
    """How a tensor is packed; a plain one by the name of its element type."""
    packing = getattr(source, "packing", source.dtype)
    return packing(name)


def _common(source: TensorSource, names: Sequence[str], packings: Sequence[str]) -> Form:
    known = {name for name, form in FORMS.items() if form.number is not None or form.block == 1}
    for name, packing in zip(names, packings, strict=True):
        if packing not in known:
            raise ValueError(
                f"{source.name}: tensor {name!r} is packed as {packing}, which cannot be kept so, "
                f"only {', '.join(sorted(known))}: take another file, or quantise int4 or int8"
            )
    found = common_form(packings)
    if found is None:
        raise ValueError(
            f"{source.name}: the layers of {names[0]!r} are packed as "
            f"{' and '.join(sorted(set(packings)))}, which share no form: take another file, or "
            "quantise int4 or int8"
        )
    return found
