"""The shape of the package: one-way imports, a light core, pinned names, readable files."""

import ast
import inspect
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from documents import pages

import loren_jax

ROOT = Path(loren_jax.__file__).parent
MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))

# Each layer may import from the ones before it, and from itself.
LAYERS = [
    "version",
    "types",
    "precision",
    "updates",
    "transformation",
    "paths",
    "whole_file",
    "scheduling",
    "quantised",
    "threefry",
    "noise",
    "arguments",
    "losses",
    "frameworks",
    "covariance",
    "directions",
    "schemes",
    "evaluation",
    "inputs",
    "lora",
    "estimators",
    "transforms",
    "parts",
    "blocks",
    "optimizers",
    "lengths",
    "walk",
    "pacing",
    "diagnostics",
    "journal",
    "reports",
    "runs",
    "checkpoints",
    "models",
    "tasks",
    "objectives",
    "train",
    "cli",
    "__main__",
]
BESIDE = {
    "checkpoints": {"quantised"},
    "models": {"checkpoints", "noise", "quantised"},
    "tasks": {"checkpoints"},
}
"""They stand beside the core and import none of it, but what draws tokens: each these only."""
APART = {"objectives": {"runs"}, "runs": {"checkpoints", "models", "tasks"}}
"""Objectives and runs meet in the commands alone."""
APPLICATION = ("reports", "runs", "objectives", "train")


def layer(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def imported_layers(module: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("loren_jax.")}
    return found & set(LAYERS)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_go_one_way(module):
    here = layer(module)
    if here == "__init__":
        return
    before = BESIDE.get(here, set(LAYERS[: LAYERS.index(here)]))
    assert imported_layers(module) <= (before | {here}) - APART.get(here, set())


def test_the_application_has_few_floors():
    """The longest way down from one of its files to one that imports no other of them."""
    below = {}
    for module in MODULES:
        if layer(module) in APPLICATION and module.name != "__init__.py":
            tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
            named = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module]
            found = {f"{n.module}.{a.name}" for n in named for a in n.names}
            found |= {n.module for n in named}
            below[".".join(["loren_jax", *module.with_suffix("").parts])] = found
    below = {name: found & set(below) for name, found in below.items()}

    def floors(name):
        return 1 + max(map(floors, below[name]), default=0)

    highest = max(below, key=floors)
    assert floors(highest) <= 7, highest


def test_the_configuration_passes_through_few_files():
    names = {"TrainConfig", "ClassificationConfig", "EvaluateConfig", "CompareConfig"}
    touching = [
        module
        for module in MODULES
        if any(
            isinstance(node, ast.ImportFrom) and names & {alias.name for alias in node.names}
            for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8")))
        )
    ]
    assert len(touching) <= 15, touching


def test_everything_that_the_pages_name_is_there_after_the_import():
    """In a process of its own: another test's import would make a submodule appear."""
    text = "".join(path.read_text(encoding="utf-8") for path in pages().values())
    named = sorted(set(re.findall(r"`(loren_jax(?:\.\w+)+)", text)))
    # What only the commands need is imported by its own name.
    own = ("checkpoints", "models", "objectives", "reports", "runs", "tasks", "train", "types")
    named = [n for n in named if n.split(".")[1] not in own]
    assert {"loren_jax.diagnostics.VitalSigns", "loren_jax.diagnostics.dense_leaves"} <= set(named)
    code = f"import loren_jax; print([eval(name) and None for name in {named!r}])"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_is_that_of_the_distribution():
    assert loren_jax.__version__ == metadata.version("loren-jax")
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", loren_jax.__version__)


def test_importing_the_core_is_light():
    heavy = ("flax", "transformers", "datasets", "safetensors", "tyro", "matplotlib", "torch")
    heavy += ("equinox", "keras")
    code = f"import loren_jax, sys; print([m for m in {heavy!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_noise_is_the_only_caller_of_jax_random(module):
    if module.name == "noise.py":
        return
    text = (ROOT / module).read_text(encoding="utf-8")
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("jax.random.")
    ]
    assert not calls, f"{module} calls jax.random on lines {calls}"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_files_are_readable(module):
    text = (ROOT / module).read_text(encoding="utf-8")
    assert module.stem not in ("utils", "common", "helpers", "misc", "core")
    assert len(text.splitlines()) <= 400
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{module} has no docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines <= 60, f"{module}:{node.name} has a body of {lines} lines"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_docstrings_speak_one_dialect(module):
    """Sections are indented by two, code stands in single backticks, examples have no heading."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    said = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
    deep = re.compile(r"^(?:Args|Attributes|Returns|Yields|Raises):\n    ", re.MULTILINE)
    assert [text for text in said if deep.search(text)] == []
    assert [text for text in said if re.search(r"(?<!`)``(?!`)", text)] == []
    assert [text for text in said if re.search(r"^Examples?:$", text, re.MULTILINE)] == []


def test_arguments_say_what_they_take():
    """Few are annotated `Any`: those of checks, which are there to be given anything."""
    arguments, unsaid = 0, []
    for module in MODULES:
        for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            a = node.args
            every = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
            own = [x for x in every if x.arg not in ("self", "cls")]
            arguments += len(own)
            bare = [x for x in own if x.annotation and ast.unparse(x.annotation) == "Any"]
            unsaid += [f"{module}:{x.lineno} {node.name}({x.arg})" for x in bare]
    assert len(unsaid) < 0.04 * arguments, "\n".join([f"{len(unsaid)} of {arguments}:", *unsaid])


ALIASES = sorted(loren_jax.optimizers.METHODS)


@pytest.mark.parametrize("name", ALIASES)
def test_bodies_of_methods_fit_in_eight_statements(name):
    function = getattr(loren_jax, name)
    (node,) = ast.parse(inspect.getsource(inspect.unwrap(function))).body
    assert len(node.body) - 1 <= 8
