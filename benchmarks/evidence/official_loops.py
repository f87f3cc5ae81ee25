"""The loops that the authors of MeZO and LOREN published, in torch, run from their repositories.

Nothing of them is here: what makes a step is taken from the user's checkouts, as the methods of
their classes, on a base that holds what those read. The rest of their files, which needs versions
of other packages that are long past, is not run. The model is `benchmarks/transformer.py` in torch,
with a matrix of its own for each layer; all runs on the CPU, in float32.

Needs torch, which nothing else here does: import it where that is installed.
"""

import __future__

import ast
import contextlib
import math
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.transformer import Transformer

PASSES = "six forward passes, torch"
RATE, EPSILON = 1e-6, 1e-3
QUERIES = 6
"""Forward passes that are timed: one step of LOREN, three of MeZO."""


class Model(nn.Module):
    """The transformer, with the given weights.

    Args:
      params: of `Transformer.params`, stacked.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__()
        self.embedding = _parameter(params["embedding"])
        stacks = {name: np.asarray(stack) for name, stack in params["layers"].items()}
        count = len(next(iter(stacks.values())))
        # A matrix of torch has the outputs first, and LOREN's curvature is along the second axis.
        self.layers = nn.ModuleList(
            nn.ParameterDict({name: _parameter(stack[i].T) for name, stack in stacks.items()})
            for i in range(count)
        )

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor]:
        """The loss, first of a tuple as in Hugging Face's models."""
        linear, x = nn.functional.linear, self.embedding[input_ids]
        for layer in self.layers:
            scores = linear(x, layer["q"]) @ x.mT * x.shape[-1] ** -0.5
            x = x + linear(scores.softmax(-1) @ x, layer["o"])
            inner = nn.functional.gelu(linear(x, layer["up"]), approximate="tanh")
            x = x + linear(inner, layer["down"])
            x = x * torch.rsqrt(torch.mean(x * x, -1, keepdim=True) + 1e-6)
        return (torch.logsumexp(x[:, -1] @ self.embedding.T, -1).mean(),)


def loops(
    model: Transformer, tokens: tuple[int, int], mezo: Path | None, loren: Path | None
) -> dict[str, Callable[[], Any]]:
    """Steps of six forward passes, ready to run, by name.

    Args:
      model: whose sizes.
      tokens: batch and length.
      mezo: a checkout of MeZO's repository, or None to leave it out.
      loren: a checkout of LOREN's, likewise.

    Returns:
      The calls, the bare passes first.
    """
    ids = torch.from_numpy(np.array(model.tokens(*tokens))).long()
    fresh = lambda: Model(model.params()).eval()
    bare = fresh()

    @torch.inference_mode()
    def passes() -> None:
        for shift in range(QUERIES):
            bare((ids + shift) % model.vocabulary)

    found: dict[str, Callable[[], Any]] = {PASSES: passes}
    if mezo:
        found["MeZO, official loop"] = mezo_loop(mezo, fresh(), ids)
    if loren:
        found["LOREN, official loop"] = loren_loop(loren, fresh(), ids)
    return found


def mezo_loop(checkout: Path, model: nn.Module, ids: torch.Tensor) -> Callable[[], None]:
    """Three steps of MeZO, of two forward passes each."""
    names = ("zo_perturb_parameters", "zo_forward", "zo_step", "zo_update")
    file = checkout / "large_models" / "trainer.py"
    trainer = excerpt(file, "OurTrainer", names, Trainer)()

    def steps() -> None:
        for _ in range(QUERIES // 2):
            trainer.zo_step(model, {"input_ids": ids})
            trainer.zo_update(model)

    return steps


def loren_loop(checkout: Path, model: nn.Module, ids: torch.Tensor) -> Callable[[], None]:
    """A step of LOREN with six queries, at the file's own damping, momentum and rates."""
    folder = checkout / "model"
    names = ("configure_params", "zo_forward_memory_eff")
    base = excerpt(folder / "glue_transformer.py", "GLUETransformer", names, Lightning)
    names = ("__init__", "configure_params", "perturb_parameters", "lnes_zo_update")
    file = folder / "glue_transformer_loren.py"
    # `super()` of the file's own `__init__` takes what the base has no use for.
    kind = excerpt(file, "GLUETransformerLOREN", (*names, "training_step"), base)
    rule = checkout / "common" / "alg_utils.py"
    kind.training_step.__globals__.update(_run(rule, [_function(rule, "sgd_with_wdecay")]))
    module = kind("", 2, zero_order_eps=EPSILON, num_queries=QUERIES)
    module.model, module.batchsize_limit = model, len(ids)
    module.configure_params()
    return lambda: module.training_step(model, {"input_ids": ids}, log={})


class Trainer:
    """What MeZO's loop reads of Hugging Face's trainer."""

    def __init__(self) -> None:
        self.args = SimpleNamespace(
            zo_eps=EPSILON, non_diff=False, n_gpu=1, gradient_accumulation_steps=1, weight_decay=0.0
        )
        self.lr_scheduler = SimpleNamespace(step=lambda: None)
        self._get_learning_rate = lambda: RATE
        self._prepare_inputs = lambda inputs: inputs
        self.compute_loss_context_manager = contextlib.nullcontext
        self.compute_loss = lambda model, inputs: model(**inputs)[0]


class Lightning:
    """What LOREN's loop reads of the classes above it."""

    def __init__(self, *unread: Any) -> None:
        del unread
        self.full_parameter, self.zero_order_eps, self.weight_decay = True, EPSILON, 0.0
        counts = {"global_training_steps": 0, "time": [], "query": []}
        self.state = SimpleNamespace(learning_rate=RATE, **counts)


def excerpt(file: Path, name: str, methods: Sequence[str], base: type) -> type:
    """A class of a file with some of its methods alone, on another base.

    Args:
      file: Python source; nothing else of it is run.
      name: of the class.
      methods: their names.
      base: what it derives from here.

    Returns:
      The class.

    Raises:
      SystemExit: the file does not have them.
    """
    wanted = [node for node in _read(file) if isinstance(node, ast.ClassDef) and node.name == name]
    if not wanted:
        raise SystemExit(f"{file} has no class {name}: is it the official repository?")
    own = wanted[0]
    own.body = [_function(file, method, own.body) for method in methods]
    own.bases, own.keywords, own.decorator_list = [ast.Name("Base", ast.Load())], [], []
    return _run(file, [own], Base=base)[name]


def facts() -> dict[str, Any]:
    """What a row says of torch."""
    return {"torch": torch.__version__, "threads of torch": torch.get_num_threads()}


def version(checkout: Path) -> str | None:
    """The commit of a checkout; None where git does not tell."""
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return told.stdout.strip() or None


def _read(file: Path) -> list[ast.stmt]:
    if not file.exists():
        raise SystemExit(f"{file} does not exist: give a checkout of the official repository")
    return ast.parse(file.read_text(encoding="utf-8")).body


def _function(file: Path, name: str, body: Sequence[ast.stmt] | None = None) -> ast.stmt:
    for node in _read(file) if body is None else body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise SystemExit(f"{file} has no {name}: is it the official repository?")


def _run(file: Path, nodes: list[ast.stmt], **given: Any) -> dict[str, Any]:
    """The names that the statements define."""
    tree = _OnCpu().visit(ast.Module(nodes, []))
    # Annotations name classes of packages that are not imported here.
    flags = __future__.annotations.compiler_flag
    code = compile(ast.fix_missing_locations(tree), str(file), "exec", flags, dont_inherit=True)
    names = {"torch": torch, "np": np, "math": math, "time": time, "__name__": __name__, **given}
    exec(code, names)
    return {k: v for k, v in names.items() if k != "__builtins__"}


class _OnCpu(ast.NodeTransformer):
    """LOREN's file writes its device out."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("cpu") if node.value == "cuda" else node


def _parameter(weight: Any) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.array(weight, order="C")))
