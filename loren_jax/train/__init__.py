"""Training: from one configuration to a fine-tuned model, its curve and its numbers.

Typical use::

    config = TrainConfig(optimizer=LorenOptions(learning_rate=0.1), trainable=("classifier/*",))
    result = train(config)
    print(result.directory / "model", result.summary.after["accuracy"])

`loren-jax train` is the same from a shell. `OPTIONS` are the options by method: those of `loren`
are `LorenOptions` here, and so on.
"""

from typing import Any

from loren_jax.train.config import (
    CompareConfig,
    EvaluateConfig,
    PredictConfig,
    TrainConfig,
    TrainRewardConfig,
    TrainTextConfig,
)
from loren_jax.train.evaluation import evaluate
from loren_jax.train.halving import SweepResult, sweep
from loren_jax.train.methods import OPTIONS
from loren_jax.train.prediction import Predictions, predict
from loren_jax.train.seeds import SeedsResult, resume_seeds, train_seeds
from loren_jax.train.training import RunResult, forecast, resume, train
from loren_jax.train.trials import Trial

_BY_NAME = {options.__name__: options for options in OPTIONS.values()}


def __getattr__(name: str) -> Any:
    """`LorenOptions`, and so on for every method of the table."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_BY_NAME]


__all__ = [
    "OPTIONS", "CompareConfig", "EvaluateConfig", "PredictConfig", "Predictions", "RunResult",
    "SeedsResult", "SweepResult", "TrainConfig", "TrainRewardConfig", "TrainTextConfig",
    "Trial", "evaluate", "forecast", "predict", "resume", "resume_seeds", "sweep",
    "train", "train_seeds",
]  # fmt: skip
