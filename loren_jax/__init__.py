"""Fine-tune large models in JAX with forward passes only.

A zeroth-order step is *directions* x *scheme* x *evaluation*, followed by an ordinary Optax chain;
`loren_jax.types` has the contracts, `loren_jax.optimizers` the methods as points of that design.
"""

from loren_jax import (
    diagnostics,
    directions,
    evaluation,
    frameworks,
    inputs,
    journal,
    lora,
    losses,
    optimizers,
    parts,
    schemes,
    transforms,
)
from loren_jax.blocks import blockwise
from loren_jax.estimators import estimate, with_aux
from loren_jax.evaluation._axes import matrix_axes
from loren_jax.frameworks import from_equinox, from_keras, from_linen, from_nnx
from loren_jax.optimizers import *  # noqa: F403
from loren_jax.pacing import automatic
from loren_jax.parts import trained
from loren_jax.runs import fit
from loren_jax.transforms import descend, observe, train_step
from loren_jax.types import MatrixAxes
from loren_jax.version import installed_version as _installed
from loren_jax.walk import measure_walk

__version__ = _installed("loren-jax")

__all__ = [
    "MatrixAxes", "automatic", "blockwise", "descend", "diagnostics", "directions", "estimate",
    "evaluation", "fit", "frameworks", "from_equinox", "from_keras", "from_linen", "from_nnx",
    "inputs", "journal", "lora", "losses", "matrix_axes", "measure_walk", "observe", "optimizers",
    "parts", "schemes", "train_step", "trained", "transforms", "with_aux",
]  # fmt: skip
__all__ += optimizers.__all__
