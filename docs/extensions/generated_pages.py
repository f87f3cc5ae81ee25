"""Pages made of the package itself: a reference of all public names, and a section a method.

`tests/public_names.txt` says what is public, `loren_jax.optimizers.METHODS` which methods there
are; a name or a method that comes or goes needs no edit here. The pages are written under
`docs/reference/` and `docs/methods/` before each build, and are in no commit.
"""

import importlib
import inspect
import sys
import textwrap
import types
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

from loren_jax.optimizers import METHODS
from loren_jax.optimizers.entry import Entry

DOCS = Path(__file__).resolve().parents[1]
PINNED = DOCS.parent / "tests" / "public_names.txt"


def public_names() -> dict[str, list[str]]:
    """The names of each public module."""
    found = defaultdict(list)
    for name in PINNED.read_text(encoding="utf-8").split():
        module, _, own = name.rpartition(".")
        found[module].append(own)
    return dict(found)


def homes(names: Mapping[str, Sequence[str]]) -> dict[int, str]:
    """Where each object is described, by its identity: of its public places the deepest."""
    places: dict[int, str] = {}
    for module, own in names.items():
        for name in own:
            value, place = getattr(importlib.import_module(module), name), f"{module}.{name}"
            if not isinstance(value, types.ModuleType) and _shared(value):
                best = places.setdefault(id(value), place)
                if place.count(".") > best.count("."):
                    places[id(value)] = place
    return places


def module_page(module: str, names: Sequence[str], home: Mapping[int, str]) -> str:
    """The page of one module: its own words, then each name."""
    found = importlib.import_module(module)
    described, elsewhere = [], []
    for name in names:
        value, place = getattr(found, name), f"{module}.{name}"
        if isinstance(value, types.ModuleType) and place not in public_names():
            described.append(f".. automodule:: {place}\n   :members:")
        elif isinstance(value, types.ModuleType):
            elsewhere.append(f"* :py:mod:`{place}`: {_first_line(value)}")
        elif home.get(id(value), place) != place:
            there = home[id(value)]
            elsewhere.append(f"* :py:obj:`{name} <{there}>`: {_first_line(value)}")
            described.append(f".. py:data:: {name}\n   :no-typesetting:")
        else:
            described.append(_directive(place, value))
    parts = [f"# `{module}`", "```{eval-rst}", f".. automodule:: {module}\n   :no-members:"]
    return "\n\n".join([*parts, "\n".join(elsewhere), *described, "```\n"])


def method_page(entry: Entry) -> str:
    """The page of one method: what it costs, its published settings, its own words."""
    settings = ", ".join(f"`{k}={v!r}`" for k, v in entry.published.items())
    facts = [
        ("directions", entry.directions),
        ("scheme", f"`{entry.scheme.__name__}`"),
        ("then", entry.after),
        ("forward passes a step", entry.passes),
        ("state beside the parameters", entry.state),
        ("published settings", settings or "none: it is this library's own"),
    ]
    table = "\n".join(f"| {what} | {value} |" for what, value in facts)
    return (
        f"# {entry.name}\n\n{entry.summary}\n\n|  |  |\n|---|---|\n{table}\n\n"
        f"```{{eval-rst}}\n.. autofunction:: loren_jax.optimizers.{entry.name}\n```\n"
    )


def write(app: Sphinx) -> None:
    """Writes all pages; one that has not changed is left alone, so that it is not built again."""
    names = public_names()
    home = homes(names)
    pages = {f"reference/{m}.md": module_page(m, own, home) for m, own in names.items()}
    pages |= {f"methods/{name}.md": method_page(entry) for name, entry in METHODS.items()}
    for name, text in pages.items():
        path = DOCS / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for folder in ("reference", "methods"):
        for path in (DOCS / folder).glob("*.md"):
            if f"{folder}/{path.name}" not in pages:
                path.unlink()


def _directive(place: str, value: Any) -> str:
    method = place.rpartition(".")[2] in METHODS and place.startswith("loren_jax.optimizers.")
    if method:  # it has a page of its own
        name = place.rpartition(".")[2]
        return f"* :py:obj:`{name} <{place}>`: {_first_line(value)}"
    if inspect.isclass(value):
        return f".. autoclass:: {place}\n   :members:"
    if inspect.isroutine(value) or hasattr(value, "__wrapped__"):
        return f".. autofunction:: {place}"
    words = textwrap.indent(_said_of(place, value), "   ")
    return f".. py:data:: {place.rpartition('.')[2]}\n\n{words}"


def _said_of(place: str, value: Any) -> str:
    """The text below a constant, in the module of ours that sets it."""
    name = place.rpartition(".")[2]
    for module, found in sorted(sys.modules.items()):
        if module.startswith("loren_jax") and getattr(found, name, None) is value:
            said = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", name))
            if said:
                return "\n".join(said)
    raise LookupError(f"{place} is public and has no text below it: say what it is")


def _shared(value: Any) -> bool:
    """Whether an object is one thing under all its names, as small numbers and texts are not."""
    return inspect.isclass(value) or callable(value) or isinstance(value, Mapping)


def _first_line(value: Any) -> str:
    return (inspect.getdoc(value) or "").split("\n", 1)[0]


def _skip_fields(app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any) -> Any:
    """Fields of a NamedTuple are described under `Attributes`, not one by one as well."""
    return True if (inspect.getdoc(value) or "").startswith("Alias for field number") else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Writes the pages before Sphinx looks for them."""
    app.connect("builder-inited", write)
    app.connect("autodoc-skip-member", _skip_fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
