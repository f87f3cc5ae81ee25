"""Strict JAX and no network, before anything imports JAX."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("MPLBACKEND", "Agg")

# Tests compile much and compute little: the back end's optimiser costs more than it gains. What the
# tests measure of memory is decided before it runs.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
