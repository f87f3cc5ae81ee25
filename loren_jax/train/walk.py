"""How long the steps of a run are that is told no learning rate."""

from typing import Any

from loren_jax.evaluation import Sharded
from loren_jax.objectives import Classification, Reward, Text
from loren_jax.pacing import RATES
from loren_jax.runs.walk import found_walk, planned_steps, stored_plan
from loren_jax.train.config import RunConfig


def plan_of(
    config: RunConfig, objective: Classification | Text | Reward, evaluation: Sharded
) -> dict[str, Any]:
    """How long the steps of a run are: as its journal says, or as its first batches tell.

    Args:
      config: Of the run.
      objective: Its losses and parameters.
      evaluation: The mesh of the run.

    Returns:
      Arguments of `loren_jax.automatic`.

    Raises:
      ValueError: The loss is not positive and finite where the run begins.
    """
    stored = None if config.overwrite else stored_plan(config.directory)
    if stored is not None:
        return stored
    knobs = {
        name: value
        for name, value in vars(config.optimizer).items()
        if name not in RATES and name != "num_directions"
    }
    paths = objective.trained_paths
    among = lambda path: paths is None or path in paths
    walk = found_walk(
        objective.loss,
        objective.params,
        objective.batch,
        type(config.optimizer).factory,
        among,
        tuple(objective.frozen),
        evaluation,
        key=config.seed,
        **knobs,
    )
    return planned_steps(config.steps, walk)
