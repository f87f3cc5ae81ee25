"""Programs are compiled once for all tests of runs."""

import os

import jax
import pytest


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory):
    """Programs are compiled once for all runs of the same kind, of which there are many."""
    own = tmp_path_factory.getbasetemp()
    directory = (own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own) / "compiled"
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    yield directory
    jax.config.update("jax_compilation_cache_dir", None)
