"""What README shows passes a user's type checker, and a mistake does not."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from documents import ROOT, blocks

NAMES = """
from typing import Any

import jax
import optax

import loren_jax

params: Any = {}
batch: Any = ()
mesh = jax.make_mesh((1,), ("data",))


def loss(params: Any, batch: Any) -> jax.Array:
    return params["w"] - batch


def value_fn(params: Any) -> jax.Array:
    return loss(params, batch)


"""
"""What the uses below have around them."""

RIGHT = """
from typing import assert_type

from loren_jax.transformation import ApplyFn, UpdateFn, ZerothOrder
from loren_jax.transforms import TrainStep

optimizer = loren_jax.loren(0.1)
assert_type(optimizer, ZerothOrder)
assert_type(optimizer.update, UpdateFn)
assert_type(optimizer.apply, ApplyFn | None)
assert_type(optimizer.passes, int)
assert_type(optimizer.estimate, ZerothOrder)
assert_type(loren_jax.train_step(loss, optimizer), TrainStep)
state = optimizer.init(params)
optimizer.update(None, state, params, losses=jax.numpy.ones((6, 1)), has_aux=True)
optimizer.estimate.update(None, state, params, value_fn=value_fn)
loren_jax.trained(optax.chain(optimizer), None).update(None, state, params, value_fn=value_fn)
optax.chain(loren_jax.lozo(1.0).estimate, optax.scale_by_adam(), optax.scale(-1e-4))
loren_jax.train_step(loss, optax.chain(optimizer, optax.scale(0.5)))
"""

OBJECTIVE = """
from loren_jax.objectives import Classification, Objective


def kept(found: Classification) -> Objective:
    return found
"""

WRONG = """
optimizer = loren_jax.loren(0.1)
optimizer.update(None, optimizer.init(params), params, value_fn=3)
"""


def pyrefly(folder):
    """The lines of the errors in the folder's files, file by file."""
    config = f"project-includes = ['*.py']\nsearch-path = ['{ROOT}']\n"
    (folder / "pyrefly.toml").write_text(config)
    command = ["pyrefly", "check", "--output-format", "json"]
    said = checked([*command, "--python-interpreter-path", sys.executable], folder)
    return [(e["path"], e["line"], e["description"]) for e in said["errors"]]


def pyright(folder):
    """The same, of pyright as most editors run it."""
    if importlib.util.find_spec("basedpyright") is None:
        pytest.skip("basedpyright, pyright's package without a download, is not installed")
    config = {"typeCheckingMode": "standard", "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    command = ["basedpyright", "--outputjson", "--pythonpath", sys.executable]
    said = checked(command, folder)
    errors = [e for e in said["generalDiagnostics"] if e["severity"] == "error"]
    return [(e["file"], e["range"]["start"]["line"] + 1, e["message"]) for e in errors]


def checked(command, folder):
    """What `python -m` a checker says of a folder."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    own["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    run = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=own, capture_output=True, text=True
    )
    assert run.returncode in (0, 1), run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("checker", [pyrefly, pyright])
def test_the_readme_type_checks(checker, tmp_path):
    found = [block.text for block in blocks("README.md") if block.language == "python"]
    assert found
    for number, text in enumerate(found):
        (tmp_path / f"block_{number}.py").write_text(text)
    assert checker(tmp_path) == []


@pytest.mark.parametrize("checker", [pyrefly, pyright])
def test_what_optimisers_and_steps_are_is_known(checker, tmp_path):
    (tmp_path / "use.py").write_text(NAMES + RIGHT)
    assert checker(tmp_path) == []


@pytest.mark.parametrize("checker", [pyrefly, pyright])
def test_a_classification_keeps_the_contract_of_objectives(checker, tmp_path):
    (tmp_path / "use.py").write_text(OBJECTIVE)
    assert checker(tmp_path) == []


@pytest.mark.parametrize("checker", [pyrefly, pyright])
def test_a_value_for_a_loss_is_an_error(checker, tmp_path):
    (tmp_path / "use.py").write_text(NAMES + WRONG)
    ((_, line, message),) = checker(tmp_path)
    assert line == (NAMES + WRONG).count("\n")
    assert "value_fn" in message
