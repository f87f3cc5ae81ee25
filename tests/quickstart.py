"""The models of the quickstart, found by its own script; a test that needs one skips without."""

import importlib.util
from pathlib import Path

import pytest

FETCH = Path(__file__).parents[1] / "examples" / "quickstart" / "fetch.py"


def fetch():
    """The script, as a module of its own."""
    spec = importlib.util.spec_from_file_location("fetch", FETCH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def minilm():
    return _or_skip(fetch().minilm)


def smollm2():
    return _or_skip(fetch().smollm2)


def _or_skip(find):
    try:
        return find()
    except FileNotFoundError as error:
        pytest.skip(str(error))
