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

from loren_jax.train.comparison import comparison_table as comparison_table
from loren_jax.train.comparison import group_runs as group_runs
from loren_jax.train.comparison import read_runs as read_runs
from loren_jax.train.comparison_plot import plot_comparison as plot_comparison
from loren_jax.train.config import CompareConfig as CompareConfig
from loren_jax.train.config import EvaluateConfig as EvaluateConfig
from loren_jax.train.config import TrainConfig as TrainConfig
from loren_jax.train.evaluation import evaluate as evaluate
from loren_jax.train.methods import OPTIONS as OPTIONS
from loren_jax.train.metrics import read_metrics as read_metrics
from loren_jax.train.plot import plot_curve as plot_curve
from loren_jax.train.result import RunResult as RunResult
from loren_jax.train.run import resume as resume
from loren_jax.train.run import train as train
from loren_jax.train.scoring import Score as Score
from loren_jax.train.scoring import Scorer as Scorer
from loren_jax.train.seeds import SeedsResult as SeedsResult
from loren_jax.train.seeds import train_seeds as train_seeds
from loren_jax.train.selection import Selection as Selection
from loren_jax.train.step import StepMetrics as StepMetrics
from loren_jax.train.step import make_train_step as make_train_step
from loren_jax.train.summary import Summary as Summary
from loren_jax.train.summary import TestScore as TestScore

_BY_NAME = {options.__name__: options for options in OPTIONS.values()}


def __getattr__(name: str) -> Any:
    """`LorenOptions`, and so on for every method of the table."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_BY_NAME]
