"""Optax transformations that follow an estimate."""

from loren_jax.transforms.descent import descend as descend
