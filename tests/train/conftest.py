"""Tokens of the tests are not kept among a user's."""

import os

import jax
import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache that lasts as long as the tests."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("cache")
        patch.setenv("LOREN_JAX_CACHE", str(directory))
        yield directory


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory):
    """Programs are compiled once for all runs of the same kind, of which there are many."""
    own = tmp_path_factory.getbasetemp()
    directory = (own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own) / "compiled"
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    yield directory
    jax.config.update("jax_compilation_cache_dir", None)
