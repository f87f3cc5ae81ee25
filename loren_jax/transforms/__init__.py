"""Optax transformations that follow an estimate."""

from loren_jax.transforms._chain import chain
from loren_jax.transforms.adazo import scale_by_adazo
from loren_jax.transforms.anchoring import anchored
from loren_jax.transforms.descent import descend
from loren_jax.transforms.observation import observe
from loren_jax.transforms.precision import in_float32
from loren_jax.transforms.programs import compiled_absorb
from loren_jax.transforms.rounding import compensated_sum, stochastic_rounding
from loren_jax.transforms.steps import TrainStep, train_step

__all__ = [
    "TrainStep", "anchored", "chain", "compensated_sum", "compiled_absorb", "descend", "in_float32",
    "observe", "scale_by_adazo", "stochastic_rounding", "train_step",
]  # fmt: skip
