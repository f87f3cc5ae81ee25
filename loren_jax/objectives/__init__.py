"""Objectives: what is asked of a model.

An objective reads data, makes the batch of a step from its number, gives the loss of a batch, the
scores of held-out data, and what a report tells of it. A run makes any of them durable
(`loren_jax.runs`); the two meet in `loren_jax.train` alone.

* `objective`: the contract.
* `classification`: texts with a label, answered by a head or a prompt.
* `text`: dialogues and documents, of which a causal language model learns the next token.
"""

from loren_jax.objectives.classification import Classification
from loren_jax.objectives.config import ClassificationConfig
from loren_jax.objectives.objective import Objective
from loren_jax.objectives.reward import Reward
from loren_jax.objectives.reward_config import RewardConfig
from loren_jax.objectives.scoring import Scorer, cross_entropy
from loren_jax.objectives.text import Text
from loren_jax.objectives.text_config import TextConfig

__all__ = [
    "Classification", "ClassificationConfig", "Objective", "Reward", "RewardConfig", "Scorer",
    "Text", "TextConfig", "cross_entropy",
]  # fmt: skip
