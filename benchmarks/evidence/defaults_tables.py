"""Table of `defaults.py`."""

import inspect
from collections.abc import Iterator

import loren_jax
from benchmarks.evidence.rows import Rows
from benchmarks.evidence.tables import Row, contrast, markdown, spread
from loren_jax.journal.earlier import DEFAULTS

SIGNATURES: dict[tuple[str, str], str] = {
    ("mezo_svrg", "full_learning_rate"): "10 learning rates",
    ("loren", "rank"): "None; here 1",
    ("loren", "covariance"): "learned",
    ("loren", "structure"): "block",
    ("mezo", "rank"): "None; here 1",
    ("loren, along the inputs", "count"): "10 (head), 64",
    ("loren, along the inputs", "power"): "0 (head), 1",
}
"""Defaults that are no value of a signature, or not one alone."""


def defaults(rows: Rows) -> str:
    """A section a task: each value against the default."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    head = (
        "One knob moved from its default, the learning rate tuned for each value, at equal forward "
        "passes: mean dev loss over the run less that of the default, mean ± standard error over "
        "the seeds, paired; the verdict is a t-test at 5 %, so of twenty values that change "
        "nothing one is called different. `never` is a number of steps that no run has."
    )
    sections = [f"## {task}\n\n{markdown(list(_lines(rows, task)))}" for task in tasks]
    return "\n\n".join(["# Defaults", head, *sections])


def _lines(rows: Rows, task: str) -> Iterator[Row]:
    for base in rows.where(task=task, knob=""):
        losses = base["mean dev loss"]
        yield _line(base["method"], "all", "default", base, spread(losses, 4), "")
        for row in rows.where(task=task, method=base["method"]):
            if not row["knob"]:
                continue
            value = str(row["value"])
            if None in row["mean dev loss"]:
                yield _line(base["method"], row["knob"], value, row, "diverged", "worse")
                continue
            text, verdict = contrast(row["mean dev loss"], losses)
            plain = {"lower": "better", "higher": "worse"}.get(verdict, "no difference found")
            yield _line(base["method"], row["knob"], value, row, text, plain)


def _line(method: str, knob: str, value: str, row: Row, loss: str, verdict: str) -> Row:
    return {
        "method": method,
        "knob": knob,
        "value": value,
        "default": "" if knob == "all" else default_of(method, knob),
        "learning rate": row["rate"],
        "mean dev loss less the default's": loss,
        "against the default": verdict,
    }


def default_of(method: str, knob: str) -> str:
    """The default as the rows were measured: the signature's, or that of version 0.1.0."""
    if (method, knob) in SIGNATURES:
        return SIGNATURES[method, knob]
    default = inspect.signature(getattr(loren_jax, method)).parameters[knob].default
    default = DEFAULTS.get(method, {}).get(knob, default)
    return str(list(default) if isinstance(default, tuple) else default)
