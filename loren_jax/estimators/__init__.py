"""Estimates of the gradient from forward passes, as Optax transformations."""

from loren_jax.estimators.auxiliary import with_aux as with_aux
from loren_jax.estimators.estimate import estimate as estimate
from loren_jax.estimators.svrg import svrg as svrg
