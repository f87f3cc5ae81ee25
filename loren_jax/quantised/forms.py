r"""How numbers are packed into a few bits: what the bytes of a GGUF block mean.

Of every form a number is

.. math:: w_i = s \, p_{g(i)} \, (q_i - o) - m \, b_{g(i)},

with `q` the code, `s` the scale of the block, `o` the form's offset, and in the forms of two levels
`p` the whole number that scales a group of the block, `m` and `b` what is taken off likewise. The
layouts are those of ggml (https://github.com/ggml-org/ggml, `ggml-common.h`). Codes stay packed as
they lie in the file, so that neither reading nor writing one rounds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Fields = dict[str, np.ndarray]
"""By the names of a matrix's parts: arrays of the same rows."""


@dataclass(frozen=True)
class Form:
    """One way of packing.

    Attributes:
      name: What GGUF calls it.
      number: How GGUF counts it; None for one that no file has.
      block: Numbers that share a scale.
      group: Numbers that share the two parts of a form of two levels.
      size: Bytes of a block in a file.
      nibbles: Numbers that the low halves of so many bytes hold, in front of the high halves; 0
        where a code has a byte of its own.
      quarters: Likewise of the two high bits of a code of six; 0 where there are none.
      offset: What is taken off a code.
      split: `(rows, blocks, size)` bytes to fields.
      scale_at: Where in a block the scale is.
    """

    name: str
    number: int | None
    block: int
    group: int
    size: int = 0
    nibbles: int = 0
    quarters: int = 0
    offset: int = 0
    split: Callable[[np.ndarray], Fields] | None = None
    scale_at: int = 0

    def fields(self, blocks: np.ndarray) -> Fields:
        """What the blocks of some rows hold, `(rows, blocks, size)` bytes."""
        assert self.split is not None
        return self.split(blocks)

    def with_scales(self, blocks: np.ndarray, scales: np.ndarray) -> np.ndarray:
        """The blocks with other scales, `(rows, blocks)`, which are rounded to half precision."""
        changed = np.array(blocks)
        halves = np.ascontiguousarray(scales, dtype="<f2")
        changed[..., self.scale_at : self.scale_at + 2] = halves[..., None].view(np.uint8)
        return changed


def _halves(blocks: np.ndarray, at: int) -> np.ndarray:
    """The half-precision number at a byte of every block, `(rows, blocks)`."""
    return np.ascontiguousarray(blocks[..., at : at + 2]).view("<f2")[..., 0].astype(np.float16)


def _flat(bytes_of: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(bytes_of).reshape(len(bytes_of), -1)


def _q8_0(blocks: np.ndarray) -> Fields:
    return {"codes": _flat(blocks[..., 2:]).view(np.int8), "scales": _halves(blocks, 0)}


def _q4_0(blocks: np.ndarray) -> Fields:
    return {"codes": _flat(blocks[..., 2:]), "scales": _halves(blocks, 0)}


def _q4_1(blocks: np.ndarray) -> Fields:
    # What is added there is taken off here.
    return {
        "codes": _flat(blocks[..., 4:]),
        "scales": _halves(blocks, 0),
        "minima": -_halves(blocks, 2),
    }


def _q4_k(blocks: np.ndarray) -> Fields:
    # Six bits each: four scales, four minima, and four of both whose high bits are with the first.
    first, second, both = (blocks[..., 4 + 4 * i : 8 + 4 * i] for i in range(3))
    parts = [first & 63, (both & 15) | (first >> 2 & 48)]
    floors = [second & 63, (both >> 4) | (second >> 2 & 48)]
    return {
        "codes": _flat(blocks[..., 16:]),
        "scales": _halves(blocks, 0),
        "parts": _flat(np.concatenate(parts, -1)).view(np.int8),
        "minima": _halves(blocks, 2),
        "floors": _flat(np.concatenate(floors, -1)).view(np.int8),
    }


def _q6_k(blocks: np.ndarray) -> Fields:
    return {
        "codes": _flat(blocks[..., :128]),
        "high": _flat(blocks[..., 128:192]),
        "scales": _halves(blocks, 208),
        "parts": _flat(blocks[..., 192:208]).view(np.int8),
    }


FORMS: Mapping[str, Form] = {
    form.name: form
    for form in (
        Form("Q8_0", 8, block=32, group=32, size=34, split=_q8_0),
        Form("Q4_0", 2, block=32, group=32, size=18, nibbles=16, offset=8, split=_q4_0),
        Form("Q4_1", 3, block=32, group=32, size=20, nibbles=16, split=_q4_1),
        Form("Q4_K", 12, block=256, group=32, size=144, nibbles=32, split=_q4_k),
        Form(
            *("Q6_K", 14),
            block=256,
            group=16,
            size=210,
            nibbles=64,
            quarters=32,
            offset=32,
            split=_q6_k,
            scale_at=208,
        ),
        # Of layers of which some are Q4_K and some Q6_K: both, to the bit, in a byte a code.
        Form("K8", None, block=256, group=16),
        # Floats of fewer bits, which are their own codes; of bfloat16 the bits.
        Form("BF16", None, block=1, group=1),
        Form("F16", None, block=1, group=1),
    )
}
"""Name -> form."""

_STORED = {form.number: form for form in FORMS.values() if form.number is not None}


def form_numbered(number: int) -> Form | None:
    """The form that GGUF counts so; None for one that is not among them.

    >>> form_numbered(8).name, form_numbered(6)
    ('Q8_0', None)
    """
    return _STORED.get(number)


def codes_of(form: Form, codes: np.ndarray, high: np.ndarray | None) -> np.ndarray:
    """The codes of some rows, unpacked and without the offset, as whole numbers of 8 bits."""
    if not form.nibbles:
        return codes
    rows = len(codes)
    low = codes.reshape(rows, -1, 1, form.nibbles) >> np.array([[0], [4]], np.uint8) & 15
    found = low.reshape(rows, -1)
    if high is not None:
        shifts = np.array([[0], [2], [4], [6]], np.uint8)
        found = found | ((high.reshape(rows, -1, 1, form.quarters) >> shifts & 3) << 4).reshape(
            rows, -1
        )
    return (found.astype(np.int16) - form.offset).astype(np.int8)


def common_form(names: Sequence[str]) -> Form | None:
    """The form that layers of these forms share, each to the bit; None if there is none.

    >>> common_form(["Q4_K", "Q6_K"]).name, common_form(["Q4_0", "Q8_0"]).name
    ('K8', 'Q8_0')
    >>> common_form(["Q4_0", "Q4_K"]) is None
    True
    """
    found = set(names)
    if len(found) == 1:
        return FORMS[names[0]]
    if found == {"Q4_0", "Q8_0"}:
        return FORMS["Q8_0"]
    return FORMS["K8"] if found == {"Q4_K", "Q6_K"} else None


def convert(form: Form, fields: Fields, to: Form) -> Fields:
    """The fields of a form in another that `common_form` named; nothing is rounded."""
    if form == to:
        return fields
    codes = codes_of(form, fields["codes"], fields.get("high"))
    if to.name == "Q8_0":
        return {"codes": codes, "scales": fields["scales"]}
    if form.name == "Q4_K":
        twice = {name: np.repeat(fields[name], 2, axis=-1) for name in ("parts", "floors")}
        return {"codes": codes, **twice, "scales": fields["scales"], "minima": fields["minima"]}
    none = {"floors": np.zeros_like(fields["parts"]), "minima": np.zeros_like(fields["scales"])}
    return {"codes": codes, "parts": fields["parts"], "scales": fields["scales"], **none}
