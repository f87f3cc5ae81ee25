"""Estimates of the gradient from forward passes, as Optax transformations."""

from loren_jax.estimators.estimate import Estimator as Estimator
from loren_jax.estimators.estimate import estimate as estimate
from loren_jax.estimators.svrg import svrg as svrg
