"""Bytes of optimiser state beside the parameters, of every method, against closed forms.

The closed forms are sums over the leaves, each a stack of s matrices with fan-out m and fan-in n,
or of vectors of length n; r is the method's rank, at most m and n; b the bytes of a parameter. Of
LOREN's covariance Table 1 of its paper (https://arxiv.org/abs/2511.07971) says O(n) for a matrix of
m n; the methods of its Table 4 differ in memory by these states. Measured is `jax.eval_shape` of
`init`: no array is built, and what a step holds for a moment is `memory.py`'s matter.

The script fails where the two differ by more than `SLACK` bytes of counters, keys and losses.

    python -m benchmarks optimizer_state    # seconds

Measured (the model of `transformer.py`, 25 million parameters in one embedding and four stacks of
matrices; state in units of the parameters' bytes; never more than 72 bytes beyond the closed form):

    parameters                           float32  bfloat16
    MeZO, KerZOO, MeZO-BCD, AdaMeZO      0        0
    LOREN, no momentum                   0.0012   0.0023
    LOZO, r = 2                          0.0023   0.0046
    LOZO-M, r = 2                        0.0052   0.0105
    SubZero, r = 24                      0.063    0.126
    TeZO, r = 32                         0.084    0.168
    ZO-Muon, r = 64                      0.094    0.188
    MeZO with momentum, HiZOO            1        2
    LOREN                                1.0012   2.0023
    MeZO-SVRG                            2        3
    MeZO-Adam, R-AdaZO                   2        4
"""

import argparse
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import loren_jax
from benchmarks.record import save, table
from benchmarks.transformer import Transformer
from loren_jax.directions.matrices import MatrixView, views_of
from loren_jax.optimizers import (
    adamezo,
    hizoo,
    kerzoo,
    lozo,
    lozo_m,
    mezo_adam,
    mezo_bcd,
    mezo_svrg,
    r_adazo,
    subzero,
    tezo,
    zo_muon,
)

SLACK = 96
"""Bytes: a key (8), counters and a step's losses (4 each), MeZO-BCD's order of blocks,
AdaMeZO's ten slopes."""

NUMBER = 4
"""Bytes of a float32, which all state is in but MeZO-SVRG's snapshot."""


class Method(NamedTuple):
    """A row of the table.

    Attributes:
      make: called with a learning rate.
      formula: bytes of a leaf, in words.
      size: the same, `(its view, bytes of one of its numbers) -> bytes`.
    """

    make: Callable[..., optax.GradientTransformation]
    formula: str
    size: Callable[[MatrixView, int], int]


def _whole(view: MatrixView) -> int:
    return math.prod(view.shape)


def _factors(rank: int, *, left: bool = False, right: bool = False, vectors: bool = False) -> Any:
    """Factors of rank r, one for each matrix; of a vector nothing, or all of it."""

    def size(view: MatrixView, _: int) -> int:
        if view.is_vector:
            return NUMBER * _whole(view) * vectors
        rows = left * view.m + right * view.n
        return NUMBER * math.prod(view.stack) * rows * min(rank, view.m, view.n)

    return size


def _vectors(view: MatrixView) -> int:
    return math.prod(view.stack) * view.n


METHODS = {
    "MeZO": Method(loren_jax.mezo, "0", lambda view, _: 0),
    "KerZOO": Method(kerzoo, "0", lambda view, _: 0),
    "MeZO-BCD": Method(mezo_bcd, "0", lambda view, _: 0),
    "AdaMeZO": Method(adamezo, "0", lambda view, _: 0),
    "LOREN, no momentum": Method(
        partial(loren_jax.loren, momentum=None), "4 s n", lambda view, _: NUMBER * _vectors(view)
    ),
    "LOZO, r = 2": Method(lozo, "4 s n r", _factors(2, right=True)),
    "LOZO-M, r = 2": Method(
        lozo_m, "4 s (m + n) r", _factors(2, left=True, right=True, vectors=True)
    ),
    "SubZero, r = 24": Method(subzero, "4 s (m + n) r", _factors(24, left=True, right=True)),
    "TeZO, r = 32": Method(tezo, "4 s (m + n) r", _factors(32, left=True, right=True)),
    "ZO-Muon, r = 64": Method(zo_muon, "4 s m r", _factors(64, left=True)),
    "MeZO, momentum": Method(
        partial(loren_jax.mezo, momentum=0.9), "4 s m n", lambda view, _: NUMBER * _whole(view)
    ),
    "HiZOO": Method(hizoo, "4 s m n", lambda view, _: NUMBER * _whole(view)),
    "LOREN": Method(
        partial(loren_jax.loren, momentum=0.9),
        "4 s (m n + n)",
        lambda view, _: NUMBER * (_whole(view) + _vectors(view)),
    ),
    "MeZO-SVRG": Method(
        mezo_svrg, "(4 + b) s m n", lambda view, itemsize: (NUMBER + itemsize) * _whole(view)
    ),
    "MeZO-Adam": Method(mezo_adam, "8 s m n", lambda view, _: 2 * NUMBER * _whole(view)),
    "R-AdaZO": Method(r_adazo, "8 s m n", lambda view, _: 2 * NUMBER * _whole(view)),
}
"""From the least to the most."""


def rows(model: Transformer, dtype: Any = jnp.float32) -> list[dict[str, Any]]:
    """One row a method; raises where a state is not of the size of its closed form.

    Args:
      model: whose parameters are meant.
      dtype: theirs.

    Returns:
      Measured and computed bytes, and their ratio to those of the parameters.

    Raises:
      AssertionError: the two differ by more than `SLACK`.
    """
    cast = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype)
    params = jax.tree.map(cast, jax.eval_shape(model.params))
    views, itemsize = jax.tree.leaves(views_of(params)), jnp.dtype(dtype).itemsize
    found = []
    for name, method in METHODS.items():
        measured = _bytes(jax.eval_shape(method.make(1e-6).init, params))
        computed = sum(method.size(view, itemsize) for view in views)
        assert 0 <= measured - computed <= SLACK, f"{name}: {measured} bytes, formula {computed}"
        found.append(
            {"method": name, "parameters": jnp.dtype(dtype).name, "bytes a leaf": method.formula}
            | {"MiB": measured / 2**20, "/ parameters": measured / _bytes(params)}
            | {"computed MiB": computed / 2**20, "bytes beyond": measured - computed}
        )
    return found


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def main() -> None:
    """Computes, prints, saves; nothing runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny model; nothing is saved")
    options = parser.parse_args()
    tiny = {"layers": 2, "width": 32, "hidden": 64, "vocabulary": 128} if options.quick else {}
    model = Transformer(**tiny)
    found = [row for dtype in (jnp.float32, jnp.bfloat16) for row in rows(model, dtype)]
    print(table(found))
    if not options.quick:
        size = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(model.params)))
        print("saved", save("optimizer_state", found, model=model._asdict(), parameters=size))


if __name__ == "__main__":
    main()
