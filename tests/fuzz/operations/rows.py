"""Few rows of an embedding, of which noise is drawn for those rows alone."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..drafts import Draft, Value, need
from ..precision import FLOATS, is_floating, text_of
from .indexing import MODES, starts_of
from .table import add


def few(draft: Draft, limit: int) -> tuple[int, ...]:
    """A shape of no, one or several axes, of fewer indices than there are rows."""
    shape: tuple[int, ...] = ()
    for _ in range(draft.choice([0, 1, 1, 2, 2, 3])):
        most = (limit - 1) // int(np.prod(shape))
        shape = (*shape, draft.integer(1, min(3, max(1, most))))
    return shape


def _written(draft: Draft, size: int, axis: int) -> Any:
    """As `jnp` writes it: negative numbers count from the end, what is outside is not there."""
    index = np.asarray(draft.rng.integers(-size - 2, size + 2, few(draft, size)), np.int32)
    kind = draft.choice(["take", "index", "get"])
    mode = draft.choice(["clip", "fill", "wrap"])
    fill = draft.choice([None, 0, 1, -2])
    before = (slice(None),) * axis
    takes = {
        "take": lambda w, i: jnp.take(w, i, axis, mode=mode),
        "index": lambda w, i: w[(*before, i)],
        "get": lambda w, i: w.at[(*before, i)].get(mode="fill", fill_value=fill),
    }
    return f"{kind} {index.tolist()} axis {axis} {mode} fill {fill}", takes[kind], index


def _gathered(draft: Draft, shape: tuple[int, ...], axis: int) -> Any:
    """Offset dimensions anywhere, every mode, indices of every type."""
    batch, mode = few(draft, shape[axis]), draft.choice([*MODES, "fill"])
    indices = starts_of(draft, [shape[axis] - 1], batch, mode)
    rest = len(shape) - 1
    offset = tuple(sorted(draft.subset(range(rest + len(batch)), rest, rest)))
    numbers = lax.GatherDimensionNumbers(offset, (axis,), (axis,))
    sizes = [1 if i == axis else s for i, s in enumerate(shape)]
    fill = draft.choice([None, 0, 1, 2, -0.5]) if mode == "fill" else None
    take = lambda w, i: lax.gather(w, i, numbers, sizes, mode=mode, fill_value=fill)
    text = f"{indices.dtype}{indices.tolist()} offset {offset} axis {axis} mode {mode} fill {fill}"
    return text, take, indices


def _rows(turned: bool, changed: bool) -> Any:
    def make(draft: Draft, x: Value) -> Any:
        """Of the longest axis mostly."""
        need(x.ndim >= 2 and is_floating(x.dtype))
        order = draft.permutation(x.ndim) if turned else tuple(range(x.ndim))
        dtype = FLOATS[draft.choice(["f32", "bf16", "f16"])] if changed else x.dtype
        turn_first = draft.flip()
        shape = tuple(x.shape[i] for i in order)
        axis = int(np.argmax(shape)) if draft.flip(0.85) else draft.integer(0, x.ndim - 1)
        written = draft.flip(0.35)
        make = _written(draft, shape[axis], axis) if written else _gathered(draft, shape, axis)
        text, take, indices = make

        def apply(t: Any, v: Any, i: Any) -> Any:
            v = jnp.transpose(v, order) if turned and turn_first else v
            v = v.astype(t(dtype)) if changed else v
            v = jnp.transpose(v, order) if turned and not turn_first else v
            return take(v, i)

        before = f"transposed {order} " * turned + f"to {text_of(dtype, ())} " * changed
        return before + text, apply, (indices,)

    return make


for _turned in (False, True):
    for _changed in (False, True):
        _name = "rows" + " of transposed" * _turned + " of cast" * _changed
        add(_name, _rows(_turned, _changed), ("gather",), keeps=True, wants="embedding")


def _attend(draft: Draft, x: Value) -> Any:
    """A product over all axes but that of the rows, as of a tied head: noise in blocks of rows."""
    need(x.ndim >= 2 and is_floating(x.dtype))
    axis = int(np.argmax(x.shape))
    rest = [i for i in range(x.ndim) if i != axis]
    y = draft.array((3, *(x.shape[i] for i in rest)), draft.dtype(x.dtype))
    left = draft.flip()
    over = (tuple(range(1, len(rest) + 1)), tuple(rest))

    def apply(t: Any, v: Any, y: Any) -> Any:
        operands, axes = ((v, y), over[::-1]) if left else ((y, v), over)
        return lax.dot_general(*operands, (axes, ((), ())))

    return f"{'left' if left else 'right'} over {rest}", apply, (y,)


add("attend", _attend, ("dot_general",), keeps=True, wants="embedding")
