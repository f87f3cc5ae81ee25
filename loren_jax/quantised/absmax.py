"""Floats to codes: the largest number of a block decides its scale."""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from loren_jax.quantised.forms import FORMS, Fields, Form
from loren_jax.quantised.matrix import Quantised

FORM_OF = {"int8": "Q8_0", "int4": "Q4_0", "bfloat16": "BF16", "float16": "F16"}
"""What a user asks for -> the form that it is packed in."""


def quantise_rows(rows: np.ndarray, kind: str) -> tuple[Form, Fields]:
    r"""Packs the rows of a matrix.

    .. math:: s = \max |w| / 127, \quad q = \mathrm{round}(w / s) \qquad \text{(int8)}

    For int4 the scale is the number of the largest size, with its sign, over -8, so that it has the
    code 0 and none of the 16 codes is lost. A scale is rounded to half precision before the codes
    are found, which then make good what they can.

    Args:
      rows: A matrix whose rows are multiples of 32 long; of a float kind any.
      kind: `int8` or `int4`, in blocks of 32; `bfloat16` or `float16`, without scales.

    Returns:
      The form, and the fields of a `Quantised`.

    Raises:
      ValueError: A number that is not finite, or too large for the scale of its block.

    >>> form, fields = quantise_rows(np.linspace(-1, 1, 32)[None], "int8")
    >>> form.name, fields["codes"][0, [0, -1]].tolist()
    ('Q8_0', [-127, 127])
    """
    form = FORMS[FORM_OF[kind]]
    if form.block == 1:
        most = np.finfo(np.float16).max if kind == "float16" else jnp.finfo(jnp.bfloat16).max
        if not np.all(np.abs(rows) <= float(most)):
            raise ValueError(
                f"a weight is {float(np.max(np.abs(rows)))}, which no {kind} number can hold: take "
                "the model as it is"
            )
        if kind == "float16":
            return form, {"codes": rows.astype(np.float16)}
        return form, {"codes": rows.astype(jnp.bfloat16).view(np.uint16)}
    blocks = rows.astype(np.float32).reshape(len(rows), -1, form.block)
    at = np.argmax(np.abs(blocks), axis=-1, keepdims=True)
    largest = np.take_along_axis(blocks, at, axis=-1)[..., 0]
    wide = np.abs(largest) / 127 if kind == "int8" else largest / -8
    if not np.all(np.abs(wide) <= np.finfo(np.float16).max):
        raise ValueError(
            f"a weight is {float(np.max(np.abs(largest)))}, which no {kind} block can hold: take "
            "the model as it is"
        )
    scales = wide.astype(np.float16)
    exact = scales.astype(np.float32)[..., None]
    ratios = np.divide(blocks, exact, out=np.zeros_like(blocks), where=exact != 0)
    if kind == "int8":
        codes = np.clip(np.rint(ratios), -127, 127).astype(np.int8)
        return form, {"codes": codes.reshape(len(rows), -1), "scales": scales}
    codes = np.clip(np.rint(ratios) + form.offset, 0, 15).astype(np.uint8)
    low, high = codes[..., : form.nibbles], codes[..., form.nibbles :]
    return form, {"codes": (low | high << 4).reshape(len(rows), -1), "scales": scales}


def quantise(
    weight: ArrayLike, kind: str, *, kernel: bool = True, dtype: str = "float32"
) -> Quantised:
    """Packs a matrix, or a stack of them.

    Args:
      weight: Kernels `(*stack, fan_in, fan_out)`, or a table `(rows, fan_in)`; of int8 and int4
        with a fan-in that is a multiple of 32.
      kind: `int8`, `int4`, `bfloat16` or `float16`.
      kernel: Whether these are kernels.
      dtype: Element type of the floats that they become.

    Returns:
      The packed matrix, whose scales are of half precision.

    Raises:
      ValueError: Another kind, a fan-in that no blocks divide, or a number that none can hold.

    >>> made = quantise(np.eye(32), "int8")
    >>> made.shape, made.codes.dtype.name, float(made.to_dense()[3, 3].round(3))
    ((32, 32), 'int8', 1.0)
    """
    if kind not in FORM_OF:
        raise ValueError(f"kind must be one of {', '.join(FORM_OF)}, got {kind!r}")
    values = np.asarray(weight)
    rows = np.swapaxes(values, -1, -2) if kernel else values
    if rows.shape[-1] % FORMS[FORM_OF[kind]].block:
        raise ValueError(
            f"weight has the shape {values.shape}, whose fan-in {rows.shape[-1]} is no multiple of "
            f"{FORMS[FORM_OF[kind]].block}, the block of {kind}: give bfloat16 or float16"
        )
    form, fields = quantise_rows(rows.reshape(-1, rows.shape[-1]), kind)
    arrays = {n: jnp.asarray(x).reshape(*rows.shape[:-1], -1) for n, x in fields.items()}
    return Quantised(**arrays, name=form.name, dtype=dtype, kernel=kernel)
