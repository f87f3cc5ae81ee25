"""Optax transformations that follow an estimate."""

from loren_jax.transforms.adazo import scale_by_adazo as scale_by_adazo
from loren_jax.transforms.chain import chain as chain
from loren_jax.transforms.descent import descend as descend
from loren_jax.transforms.precision import in_float32 as in_float32
from loren_jax.transforms.programs import compiled_absorb as compiled_absorb
from loren_jax.transforms.rounding import compensated_sum as compensated_sum
from loren_jax.transforms.rounding import stochastic_rounding as stochastic_rounding
from loren_jax.transforms.steps import TrainStep as TrainStep
from loren_jax.transforms.steps import train_step as train_step
