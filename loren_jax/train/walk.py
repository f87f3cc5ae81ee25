"""How long the steps of a run are that is told no learning rate."""

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from loren_jax.evaluation import Sharded
from loren_jax.lengths import RATES
from loren_jax.objectives import Classification, Reward, Text
from loren_jax.pacing import automatic
from loren_jax.runs import processes
from loren_jax.runs.walk import found_walk, planned_steps, stored_plan
from loren_jax.train.config import RunConfig
from loren_jax.walk import SHARE


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
    # Any walk does for what an argument may be wrong about.
    automatic(type(config.optimizer).factory, config.steps, walk=1.0, **knobs)
    paths = objective.trained_paths
    among = lambda path: paths is None or path in paths
    if isinstance(objective, Classification) and objective.new_head_with_more and processes.first():
        sys.stderr.write(_NEW_HEAD)
    how = _how(objective, config.steps)
    found = found_walk(
        how.loss,
        objective.params,
        objective.batch,
        type(config.optimizer).factory,
        among,
        tuple(objective.frozen),
        evaluation,
        key=config.seed,
        share=how.share,
        chance=how.chance,
        steps=how.steps,
        **knobs,
    )
    longest = found.longest if how.grows else 1.0
    return planned_steps(config.steps, found.walk, longest=longest, chance=how.chance)


_NEW_HEAD = (
    "the head is new, so that its losses do not show how far the other layers may move, and steps "
    "may be far too long: train the head first (--trainable head), then go on from that run with "
    "--model RUN --trainable '*'\n"
)
PROMPTS_SHARE = 1.0
"""Of the cross-entropy of prompts, which noise of the size of a rewarded run's walk adds to it: it
may cost more of what a model knows than of what it is trained on."""


class _How(NamedTuple):
    """What a walk is measured with, and how its steps may grow."""

    loss: Callable[..., Any]
    share: float
    chance: float
    grows: bool
    steps: int | None


def _how(objective: Classification | Text | Reward, steps: int) -> _How:
    if isinstance(objective, Reward):
        # Losses that a step compares have a mean of zero, whatever was gained, and no step corrects
        # what its noise costs of the prompts.
        return _How(objective.prompt_loss, PROMPTS_SHARE, math.inf, False, None)
    if isinstance(objective, Text):
        return _How(objective.loss, SHARE, math.inf, True, steps)
    return _How(objective.loss, SHARE, objective.chance, True, steps)
