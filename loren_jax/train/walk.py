"""How long the steps of a run are that is told no learning rate."""

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from loren_jax.evaluation import Sharded
from loren_jax.lengths import RATES
from loren_jax.objectives import Classification, Reward, Text
from loren_jax.pacing import require_plan
from loren_jax.runs import processes
from loren_jax.runs.walk import found_walk, planned_steps, stored_plan
from loren_jax.train.config import RunConfig
from loren_jax.types import PyTree
from loren_jax.walk import SEARCHED_BATCHES, SHARE


def plan_of(
    config: RunConfig,
    objective: Classification | Text | Reward,
    evaluation: Sharded,
    factors: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
) -> dict[str, Any]:
    """How long the steps of a run are: as its journal says, or as its first batches tell.

    Args:
      config: Of the run.
      objective: Its losses and parameters.
      evaluation: The mesh of the run.
      factors: Fan-in vectors that the directions lie along, if they do.
      overwrite: Whether it replaces a run, and does not go on with it.

    Returns:
      Arguments of `loren_jax.automatic`.

    Raises:
      ValueError: The loss is not positive and finite where the run begins.
    """
    stored = stored_plan(config.directory, overwrite=overwrite)
    if stored is not None:
        return stored
    knobs = {name: value for name, value in vars(config.optimizer).items() if name not in RATES}
    knobs |= {} if factors is None else {"factors": factors}
    require_plan(type(config.optimizer).factory, config.steps, **knobs)
    paths = objective.trained_paths
    among = lambda path: paths is None or path in paths
    if with_new_head(objective) and processes.first():
        sys.stderr.write(_NEW_HEAD)
    how = _how(objective, config.steps)
    found = found_walk(
        how.loss,
        how.params,
        how.batch,
        type(config.optimizer).factory,
        among,
        tuple(objective.frozen),
        evaluation,
        key=config.seed,
        share=how.share,
        chance=how.chance,
        steps=how.steps,
        before=passes_before(objective),
        **knobs,
    )
    longest = found.longest if how.grows else 1.0
    return planned_steps(config.steps, found.walk, longest=longest, chance=how.chance)


def with_new_head(objective: Classification | Text | Reward) -> bool:
    """Whether more than a new head is trained."""
    return isinstance(objective, Classification) and objective.new_head_with_more


def passes_before(objective: Classification | Text | Reward) -> int:
    """Forward passes before the search for the walk: the answers of a new head, and their scale."""
    return SEARCHED_BATCHES + 1 if with_new_head(objective) else 0


_NEW_HEAD = (
    "the head is new: a run gets further that trains it first (--trainable head) and then goes on "
    "from there with --model RUN --trainable '*'\n"
)
PROMPTS_SHARE = 1.0
"""Of the cross-entropy of prompts, which noise of the size of a rewarded run's walk adds to it: it
may cost more of what a model knows than of what it is trained on."""


class _How(NamedTuple):
    """What a walk is measured with, and how its steps may grow."""

    loss: Callable[..., Any]
    params: PyTree
    batch: Callable[[int], PyTree]
    share: float
    chance: float
    grows: bool
    steps: int | None


def _how(objective: Classification | Text | Reward, steps: int) -> _How:
    at = objective.params, objective.batch
    if isinstance(objective, Reward):
        # Losses that a step compares have a mean of zero, whatever was gained, and no step corrects
        # what its noise costs of the prompts.
        return _How(objective.prompt_loss, *at, PROMPTS_SHARE, math.inf, False, None)
    if isinstance(objective, Text):
        return _How(objective.loss, *at, SHARE, math.inf, True, steps)
    if with_new_head(objective):
        return _How(*objective.answering(), SHARE, objective.chance, True, steps)
    return _How(objective.loss, *at, SHARE, objective.chance, True, steps)
