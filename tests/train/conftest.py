"""Tokens of the tests are not kept among a user's."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache that lasts as long as the tests."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("cache")
        patch.setenv("LOREN_JAX_CACHE", str(directory))
        yield directory
