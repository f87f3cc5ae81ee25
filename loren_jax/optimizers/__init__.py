"""The methods, one file each: points of directions x scheme x evaluation, and an Optax chain.

================  ===============================  ==================  =============================
method            directions                       scheme              after
================  ===============================  ==================  =============================
`loren`           learned rank-one covariance      `leave_one_out`     momentum, learning rate
`input_subspace`  along the inputs of each matrix  `leave_one_out`     momentum, learning rate
`mezo`            isotropic                        `two_sided`         momentum, learning rate
`mezo_adam`       isotropic                        `two_sided`         Adam, learning rate
`mezo_svrg`       isotropic                        `two_sided`         control variate, two rates
`mezo_bcd`        isotropic, one block a step      `two_sided`         learning rate
`lozo`            low rank, one factor kept        `two_sided`         learning rate
`lozo_m`          low rank, one factor kept        `two_sided`         momentum, learning rate
`hizoo`           learned diagonal covariance      `three_point`       learning rate
`zo_muon`         random subspace of the outputs   `one_sided`         orthogonalised, two rates
`subzero`         random subspaces of both sides   `two_sided`         learning rate
`tezo`            sums of fixed rank-one matrices  `two_sided`         momentum, learning rate
`r_adazo`         isotropic                        `two_sided`         AdaZO, learning rate
`kerzoo`          isotropic, random radius         `two_sided`         learning rate
`fzoo`            isotropic, of signs              `scaled_one_sided`  momentum, learning rate
`grzo`            isotropic, one for each example  `scaled_two_sided`  momentum, learning rate
`adamezo`         isotropic                        `two_sided`         Adam of slopes, learning rate
================  ===============================  ==================  =============================

**How to add a method** is two files: its own, and this one.

1. Directions: if none fits, a file in `loren_jax/directions/` with a function that returns
   `Distribution(init, refresh, draw, absorb)`. Compose a draw of the kinds in
   `directions.structured`, take all random numbers from `loren_jax.noise`, keep what is learned in
   a `NamedTuple` of arrays. Perturbed evaluation, masks, replay and sharding come with it.
2. Scheme: if none fits, a function in `loren_jax/schemes.py` that returns
   `Scheme(points, weigh)`; a point of 0 is queried once for all directions.
3. Factory: a file here, at most eight statements: `chain(estimate(directions, scheme, ...), ...)`
   with any of Optax's transformations; before `descend` alone a step is in place. Under a
   docstring with equation, cost, `Args`, `Returns`, `Raises`, an example that runs and
   `References`. A run gives or reads `learning_rate`, `num_directions`, `perturbation_scale`,
   `evaluation` and `key`. Every argument has an annotation (`ScalarOrSchedule` or `Scalar` where
   it is a float, as `optax.inject_hyperparams` makes arrays of them) and its words in `Args`,
   which the command line's options are made of. Behind it its `Entry`.
4. Here: an import, its `Entry` in `METHODS` and its name in `__all__`. The package then exports
   it, the command line has it with its options, and `python -m benchmarks methods_table` writes it
   into README, docs and the table above.
5. A row of `tests/methods.py`: the contract suite then runs on it; beside it its float64 oracle.

`tests/optimizers/test_adding_a_method.py` does it for a toy.
"""

from collections.abc import Mapping
from typing import Any

from loren_jax.optimizers._adamezo import ADAMEZO, adamezo
from loren_jax.optimizers._fzoo import FZOO, fzoo
from loren_jax.optimizers._grzo import GRZO, grzo
from loren_jax.optimizers._hizoo import HIZOO, hizoo
from loren_jax.optimizers._input_subspace import INPUT_SUBSPACE, input_subspace
from loren_jax.optimizers._kerzoo import KERZOO, kerzoo
from loren_jax.optimizers._loren import LOREN, loren
from loren_jax.optimizers._lozo import LOZO, LOZO_M, lozo, lozo_m
from loren_jax.optimizers._mezo import MEZO, mezo
from loren_jax.optimizers._mezo_adam import MEZO_ADAM, mezo_adam
from loren_jax.optimizers._mezo_bcd import MEZO_BCD, mezo_bcd
from loren_jax.optimizers._mezo_svrg import MEZO_SVRG, mezo_svrg
from loren_jax.optimizers._r_adazo import R_ADAZO, r_adazo
from loren_jax.optimizers._subzero import SUBZERO, subzero
from loren_jax.optimizers._tezo import TEZO, tezo
from loren_jax.optimizers._zo_muon import ZO_MUON, zo_muon
from loren_jax.optimizers.entry import Entry

__all__ = [
    "adamezo", "fzoo", "grzo", "hizoo", "input_subspace", "kerzoo", "loren", "lozo", "lozo_m",
    "mezo", "mezo_adam", "mezo_bcd", "mezo_svrg", "published", "r_adazo", "subzero", "tezo",
    "zo_muon",
]  # fmt: skip

_ENTRIES = (
    LOREN, INPUT_SUBSPACE, MEZO, MEZO_ADAM, MEZO_SVRG, MEZO_BCD, LOZO, LOZO_M, HIZOO, ZO_MUON,
    SUBZERO, TEZO, R_ADAZO, KERZOO, FZOO, GRZO, ADAMEZO,
)  # fmt: skip
METHODS: Mapping[str, Entry] = {entry.name: entry for entry in _ENTRIES}
"""The table of all methods, by name, in the order in which it is shown."""


def published(name: str) -> dict[str, Any]:
    """The settings of a method's paper, where this library's own defaults are what measured best.

    Args:
      name: of a method, a key of `METHODS`.

    Returns:
      Keyword arguments of its factory, without the learning rate; where the paper has several
      settings, one of those that the factory's docstring tells.

    Raises:
      ValueError: there is no such method, or no paper has settings for it.

    >>> published("mezo_svrg")
    {'num_directions': 1, 'perturbation_scale': 0.001, 'every': 2, 'rank': None}
    >>> optimizer = mezo_svrg(1e-5, **published("mezo_svrg"))
    """
    if name not in METHODS:
        raise ValueError(f"method {name!r} is unknown; the methods are {', '.join(METHODS)}.")
    if not METHODS[name].published:
        raise ValueError(f"{name} is this library's own: no paper has settings for it.")
    return dict(METHODS[name].published)
