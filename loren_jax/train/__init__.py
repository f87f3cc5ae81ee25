"""Training: from one configuration to a fine-tuned model, its curve and its numbers.

Typical use::

    config = TrainConfig(optimizer=LorenOptions(learning_rate=0.1), trainable=("classifier/*",))
    result = train(config)
    print(result.directory / "model", result.summary.accuracy_after)

`loren-jax train` is the same from a shell. The parts can be used alone: `make_train_step` is the
compiled step, `Scorer` the held-out accuracy, `OPTIONS` the options by method: those of
`loren` are `LorenOptions` here, and so on.
"""

from typing import Any

from loren_jax.train.comparison import comparison_table, group_runs, read_runs
from loren_jax.train.comparison_plot import plot_comparison
from loren_jax.train.config import CompareConfig, EvaluateConfig, TrainConfig
from loren_jax.train.evaluation import evaluate
from loren_jax.train.methods import OPTIONS
from loren_jax.train.metrics import read_metrics
from loren_jax.train.plot import plot_curve
from loren_jax.train.result import RunResult
from loren_jax.train.run import resume, train
from loren_jax.train.scoring import Score, Scorer
from loren_jax.train.seeds import SeedsResult, train_seeds
from loren_jax.train.selection import Selection
from loren_jax.train.step import StepMetrics, make_train_step
from loren_jax.train.summary import Summary, TestScore

_BY_NAME = {options.__name__: options for options in OPTIONS.values()}


def __getattr__(name: str) -> Any:
    """`LorenOptions`, and so on for every method of the table."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_BY_NAME]


__all__ = [
    "OPTIONS", "CompareConfig", "EvaluateConfig", "RunResult", "Score", "Scorer", "SeedsResult",
    "Selection", "StepMetrics", "Summary", "TestScore", "TrainConfig", "comparison_table",
    "evaluate", "group_runs", "make_train_step", "plot_comparison", "plot_curve", "read_metrics",
    "read_runs", "resume", "train", "train_seeds",
]  # fmt: skip
