"""Estimates of the gradient from forward passes, as Optax transformations."""

from loren_jax.estimators._estimate import estimate
from loren_jax.estimators._svrg import svrg
from loren_jax.estimators.auxiliary import with_aux

__all__ = ["estimate", "svrg", "with_aux"]
