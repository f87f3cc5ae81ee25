"""Optax transformations that follow an estimate."""

from loren_jax.transforms.descent import descend as descend
from loren_jax.transforms.fused import Fusible as Fusible
from loren_jax.transforms.fused import fusible_chain as fusible_chain
from loren_jax.transforms.fused import train_step as train_step
