"""The model of any step of a run, made again from the journal and the base model."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from loren_jax import journal
from loren_jax.models import Classifier, LanguageModel, locate
from loren_jax.objectives.adapters import TrainableModel, storage_of, trainable_model
from loren_jax.objectives.saved_model import Origin, Reader, model_directory, model_of, save_model
from loren_jax.objectives.saved_text import TextOrigin, causal_model, save_text_model
from loren_jax.quantised import as_dense
from loren_jax.reports import files
from loren_jax.reports.model_card import write_card
from loren_jax.tasks import Prompt
from loren_jax.train.cards import kept_steps, read_provenance
from loren_jax.train.config import RunConfig, TrainConfig, config_from_json
from loren_jax.train.evaluation import open_model
from loren_jax.types import PyTree

_ANY_METHOD = {
    "optimizer": {"name": "loren", "learning_rate": 1.0},
    "schedule": "constant",
    "warmup_steps": 0,
}
"""Options in place of a run's own, as its journal describes the optimiser."""


class Rebuilt(NamedTuple):
    """A run's model before the first step, what a saved one must tell, and the run's journal."""

    trainable: TrainableModel
    origin: Origin | TextOrigin
    recorded: journal.Journal

    def save(self, directory: Path, params: PyTree) -> None:
        """Writes the model with merged parameters."""
        if isinstance(self.origin, TextOrigin):
            save_text_model(directory, self.origin, params)
        else:
            save_model(directory, self.origin, params)


class Verification(NamedTuple):
    """What a journal was checked for: whole records, and bytes behind them that are no record.

    The model of the step `compared`, None if there is none in the run, has the `same` bits or a
    largest `difference` of a number; `versions` are in what this process differs from the writer's.
    """

    steps: int
    leftover: int
    compared: int | None
    same: bool
    difference: float
    versions: list[str]


def journal_file(path: Path) -> Path:
    """The journal of a run's directory, or the file itself."""
    file = path / files.JOURNAL if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(
            f"{path} is no journal, nor the directory of a run, which would hold {files.JOURNAL}"
        )
    return file


def rebuild(path: Path, base: str | None = None) -> Rebuilt:
    """The model that a run began with, checked against its journal to the bit.

    The path is the run's directory or its journal; `base` says where the base model is, if not
    where the run had it.
    """
    recorded = journal.read(journal_file(path))
    run = recorded.header["run"]
    if "config" not in run:
        raise journal.JournalError(
            f"{recorded.path} is not of `loren-jax train`; use loren_jax.journal.replay"
        )
    # A run's own may be of a version that had others.
    config = config_from_json(run["config"] | _ANY_METHOD)
    config = dataclasses.replace(config, model=base or config.model)
    model, origin = _model_of(config, locate(model_directory(config.model)), run)
    trainable = trainable_model(config, model)
    for tree, described in ((trainable.frozen, run["frozen"]), (trainable.params, None)):
        wanted = recorded.header["params"] if described is None else described
        journal.require_same(journal.describe(tree), wanted, "the base model")
    return Rebuilt(trainable, origin, recorded)


def _model_of(
    config: RunConfig, source: Path, run: Mapping[str, Any]
) -> tuple[Classifier | LanguageModel, Origin | TextOrigin]:
    """The model that a run began with, and what a saved one must tell."""
    if not isinstance(config, TrainConfig):
        model = causal_model(source, dtype=config.dtype, storage=storage_of(config))
        told = (run[name] for name in ("template", "loss_on", "max_length"))
        return model, TextOrigin(source, model.config, *told)
    names = tuple(run["label_names"])
    prompt = None if run["prompt"] is None else Prompt(run["prompt"][0], tuple(run["prompt"][1]))
    model = model_of(config, source, Reader(source, prompt), names)
    return model, Origin(source, model.config, names, prompt, run["max_length"])


def export_step(
    path: Path, output: Path, *, step: int | None = None, base: str | None = None
) -> journal.Replayed:
    """Writes the model of a step as a Hugging Face directory; the arguments are those of `rebuild`.

    The model has had all steps by default. The output must not be in use.
    """
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise FileExistsError(f"output: {output} exists; name another directory")
    rebuilt = rebuild(path, base)
    again = journal.replay(rebuilt.trainable.params, rebuilt.recorded, step)
    rebuilt.save(output, rebuilt.trainable.merge(again.params))
    # A journal alone may lie beside files of another run.
    directory, exact = path if path.is_dir() else None, not again.differences
    write_card(output, read_provenance(rebuilt.recorded, directory, steps=again.steps, exact=exact))
    return again


def verify(path: Path, base: str | None = None) -> Verification:
    """Checks a journal against the base model and, if it is there, the model of the run."""
    rebuilt = rebuild(path, base)
    recorded = rebuilt.recorded
    saved = journal_file(path).parent / files.MODEL
    step = _saved_step(saved.parent, recorded) if saved.is_dir() else None
    again = journal.replay(rebuilt.trainable.params, recorded, step)
    same, difference = True, 0.0
    if step is not None:
        dtype = files.read_json(saved / files.CONFIG)["dtype"]
        text = isinstance(rebuilt.origin, TextOrigin)
        own = causal_model(saved, dtype=dtype) if text else open_model(str(saved), dtype)[0]
        found = _leaves(own.params)
        made = _leaves(as_dense(rebuilt.trainable.merge(again.params)))
        same, difference = _same_bits(found, made), _largest_difference(found, made)
    return Verification(
        steps=recorded.steps,
        leftover=recorded.leftover,
        compared=step,
        same=same,
        difference=difference,
        versions=again.differences,
    )


def info_text(path: Path) -> str:
    """What a journal holds, for people; of a run's directory or a journal's file."""
    recorded = journal.read(journal_file(path))
    header, method = recorded.header, recorded.header["method"]
    config = header["run"].get("config", {})
    leaves, digest = header["params"]["leaves"], header["params"]["digest"]
    numbers = sum(int(np.prod(shape)) for _, shape, _ in leaves)
    directions, points = recorded.losses.shape[1:]
    finite = int(np.isfinite(recorded.losses).sum())
    rows = {
        "steps": f"{recorded.steps}" + (f" of {config['steps']}" if config else ""),
        "losses": f"{directions} directions x {points} points a step; "
        f"{recorded.losses.size - finite} not finite",
        "bytes": f"{recorded.end} ({(recorded.end - recorded.start) // max(1, recorded.steps)} a "
        f"step)" + (f", {recorded.leftover} left over" if recorded.leftover else ""),
        "method": "not described" if method is None else _words(method["name"], method["knobs"]),
        "schedule": (method or {}).get("schedule") or "constant",
        "parameters": f"{numbers:,} in {len(leaves)} leaves, digest {digest[:16]}",
        "base": config.get("model", "unknown"),
        "data": config.get("data", "unknown"),
        "written with": ", ".join(f"{n} {v}" for n, v in header["written_with"].items() if v),
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())


def _words(name: str, knobs: Mapping[str, Any]) -> str:
    return f"{name} ({', '.join(f'{knob}={value}' for knob, value in knobs.items())})"


def _saved_step(directory: Path, recorded: journal.Journal) -> int:
    """Steps that the model of a run has had: those of the best evaluation, or all."""
    summary = directory / files.SUMMARY
    values = files.read_json(summary) if summary.is_file() else {}
    return kept_steps(values, recorded)


def _leaves(params: PyTree) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(params)]


def _same_bits(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    facts = lambda array: (array.dtype, array.shape, array.tobytes())
    return all(facts(a) == facts(b) for a, b in zip(found, expected, strict=True))


def _largest_difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """NaN where one of two numbers is."""

    def largest(one: np.ndarray, other: np.ndarray) -> float:
        one, other = (array.astype(np.float64).ravel() for array in (one, other))
        unequal = (one != other) & ~(np.isnan(one) & np.isnan(other))
        return float(np.abs(one[unequal] - other[unequal]).max(initial=0.0))

    return float(np.max([largest(a, b) for a, b in zip(found, expected, strict=True)], initial=0.0))
