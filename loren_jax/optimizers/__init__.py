"""The methods, one file each: points of directions x scheme x evaluation, and an Optax chain.

================  ===========================  ===============  =======================  ========
method            directions                   scheme           after                    passes
================  ===========================  ===============  =======================  ========
`loren`           `rank_one`, learned          `leave_one_out`  momentum, learning rate  K
`input_subspace`  `spanned`                    `leave_one_out`  learning rate            K
`mezo`            `isotropic`                  `two_sided`      learning rate            2 K
`mezo_adam`       `isotropic`                  `two_sided`      Adam, learning rate      2 K
`mezo_svrg`       `isotropic`, inside `svrg`   `two_sided`      two learning rates       4 K
`mezo_bcd`        `blockwise(isotropic)`       `two_sided`      learning rate            2 K
`lozo`            `low_rank`                   `two_sided`      learning rate            2 K
`lozo_m`          `low_rank`, momentum         `two_sided`      learning rate            2 K
`hizoo`           `diagonal`, learned          `three_point`    learning rate            2 K + 1
`zo_muon`         `subspace`, orthogonalised   `one_sided`      two learning rates       K + 1
`subzero`         `core_subspace`              `two_sided`      learning rate            2 K
`tezo`            `temporal`                   `two_sided`      learning rate            2 K
`r_adazo`         `isotropic`                  `two_sided`      `scale_by_adazo`         2 K
`kerzoo`          `smoothed(isotropic)`        `two_sided`      learning rate            2 K
================  ===========================  ===============  =======================  ========

**How to add a method.**

1. Directions: if none fits, a file in `loren_jax/directions/` with a function that returns
   `Directions(init, refresh, draw, absorb)`. Compose a draw of the kinds in
   `directions.structured`, take all random numbers from `loren_jax.noise`, keep what is learned in
   a `NamedTuple` of arrays. Perturbed evaluation, masks, replay and sharding come with it.
2. Scheme: if none fits, a function in `loren_jax/schemes.py` that returns
   `Scheme(points, weigh)`; a point of 0 is queried once for all directions.
3. Alias: a file here, at most eight statements: `chain(estimate(directions, scheme, ...), ...)`
   with any of Optax's transformations; before `descend` alone a step is in place.
   Under a docstring with equation, cost, `Args`, `Returns`, `Raises`, an example that runs and
   `References`. A run gives or reads `learning_rate`, `num_directions`, `perturbation_scale`,
   `evaluation` and `key`. Every argument has an annotation (`ScalarOrSchedule` or `Scalar`
   where it is a float, as `optax.inject_hyperparams` makes arrays of them) and its words in
   `Args`, which the command line's options are made of.
4. Tables: an import below and in `loren_jax/__init__.py`, with its name in `PUBLIC` of
   `tests/test_architecture.py`; a row of `tests/methods.py` (the contract suite then runs on it,
   beside its own float64 oracle); a row of `loren_jax/train/methods.py` (the command line then has
   it, with its arguments as options) and its options' name in `loren_jax/train/__init__.py`.

`tests/optimizers/test_adding_a_method.py` does the first three for a toy.
"""

from loren_jax.optimizers.hizoo import hizoo as hizoo
from loren_jax.optimizers.input_subspace import input_subspace as input_subspace
from loren_jax.optimizers.kerzoo import kerzoo as kerzoo
from loren_jax.optimizers.loren import loren as loren
from loren_jax.optimizers.lozo import lozo as lozo
from loren_jax.optimizers.lozo import lozo_m as lozo_m
from loren_jax.optimizers.mezo import mezo as mezo
from loren_jax.optimizers.mezo_adam import mezo_adam as mezo_adam
from loren_jax.optimizers.mezo_bcd import mezo_bcd as mezo_bcd
from loren_jax.optimizers.mezo_svrg import mezo_svrg as mezo_svrg
from loren_jax.optimizers.r_adazo import r_adazo as r_adazo
from loren_jax.optimizers.subzero import subzero as subzero
from loren_jax.optimizers.tezo import tezo as tezo
from loren_jax.optimizers.zo_muon import zo_muon as zo_muon
