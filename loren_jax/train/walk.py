"""The walk of a run that is told no learning rate."""

from loren_jax.objectives import Classification, Reward, Text
from loren_jax.pacing import RATES
from loren_jax.runs.walk import found_walk, stored_walk
from loren_jax.train.config import RunConfig


def walk_of(config: RunConfig, objective: Classification | Text | Reward) -> float:
    """The walk that the run's journal has, or the one that its first batches tell.

    Args:
      config: Of the run.
      objective: Its losses and parameters.

    Returns:
      The walk, as `loren_jax.automatic` takes it.

    Raises:
      ValueError: The loss is not positive and finite where the run begins.
    """
    stored = None if config.overwrite else stored_walk(config.directory)
    if stored is not None:
        return stored[0]
    knobs = {
        name: value
        for name, value in vars(config.optimizer).items()
        if name not in RATES and name != "num_directions"
    }
    paths = objective.trained_paths
    among = lambda path: paths is None or path in paths
    return found_walk(
        objective.loss,
        objective.params,
        objective.batch,
        type(config.optimizer).factory,
        among,
        tuple(objective.frozen),
        key=config.seed,
        **knobs,
    )
