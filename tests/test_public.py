"""All public names, pinned: what docs/public.md promises does not change by accident."""

import importlib
import inspect
import pkgutil
import re
import sys
from pathlib import Path

import pytest

PINNED = Path(__file__).with_name("public_names.txt")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "public.md"
PACKAGES = (
    "", "diagnostics", "directions", "directions.structured", "estimators", "evaluation", "journal",
    "losses", "optimizers", "quantised", "transforms", "checkpoints", "models", "objectives",
    "reports", "runs", "tasks", "train",
)  # fmt: skip
MODULES = ("frameworks", "inputs", "lora", "parts", "schemes", "types")


def module(name):
    return importlib.import_module(f"loren_jax.{name}" if name else "loren_jax")


def defined(found):
    """What a module says itself; of others it says only what it imports."""
    own = lambda value: getattr(value, "__module__", found.__name__) == found.__name__
    names = [n for n, value in vars(found).items() if not n.startswith("_") and own(value)]
    return [n for n in names if not inspect.ismodule(getattr(found, n))]


def public_names():
    names = {package: module(package).__all__ for package in PACKAGES}
    names |= {name: defined(module(name)) for name in MODULES}
    return sorted(
        ".".join(filter(None, ("loren_jax", m, n))) for m, of in names.items() for n in of
    )


def test_the_public_names_are_those_that_were_pinned():
    pinned = PINNED.read_text(encoding="utf-8").split()
    assert public_names() == pinned, (
        "a public name came or went: if it was meant, say so in CHANGELOG.md, as docs/public.md "
        "asks, and run python tests/test_public.py"
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_of_all_is_there(package):
    found = module(package)
    assert [name for name in found.__all__ if not hasattr(found, name)] == []
    assert sorted(set(found.__all__)) == sorted(found.__all__)


@pytest.mark.parametrize("name", ["", *PACKAGES[1:]])
def test_no_function_hides_a_module_of_its_name(name):
    """`import loren_jax.evaluation.perturbed as p` would give the function."""
    package = module(name)
    inner = {info.name for info in pkgutil.iter_modules(package.__path__)}
    hidden = [n for n in inner if not inspect.ismodule(getattr(package, n, package))]
    assert hidden == []


@pytest.mark.parametrize("folder", ["examples", "benchmarks", "docs", "README.md"])
def test_what_users_read_imports_public_names_alone(folder):
    place = PAGE.parents[1] / folder
    files = (
        [place] if place.is_file() else [p for p in place.rglob("*") if p.suffix in (".py", ".md")]
    )
    private = re.compile(r"(from|import) loren_jax(\.\w+)*\._\w+")
    assert files
    assert [str(f) for f in files if private.search(f.read_text(encoding="utf-8"))] == []


def test_the_page_names_every_public_package_and_module():
    text = PAGE.read_text(encoding="utf-8")
    for name in (*PACKAGES[1:], *MODULES):
        assert f"`{name}`" in text


@pytest.mark.parametrize("name", public_names())
def test_a_public_function_says_what_it_takes_and_returns(name):
    where, _, own = name.rpartition(".")
    function = inspect.unwrap(getattr(importlib.import_module(where), own))
    if not inspect.isfunction(function) or sys.flags.optimize > 1:
        return
    signature, words = inspect.signature(function), function.__doc__ or ""
    assert not signature.parameters or "\n    Args:\n" in words
    silent = signature.return_annotation in (None, "None") or not signature.parameters
    assert silent or re.search(r"\n    (Returns|Yields):\n", words)


if __name__ == "__main__":
    PINNED.write_text("\n".join(public_names()) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(public_names())} names\n")
