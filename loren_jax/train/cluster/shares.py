"""Which examples each process reads: those that its own devices will see, and no others."""

import numpy as np
from jaxtyping import Int

from loren_jax.optimizers import METHODS
from loren_jax.tasks import batch_indices
from loren_jax.train.cluster.devices import OneDevice
from loren_jax.train.config import TrainConfig


class Shares:
    """The examples of a run that this process reads.

    Args:
        config: The run.
        devices: Where its arrays lie.
    """

    def __init__(self, config: TrainConfig, devices: OneDevice):
        self._config, self._devices = config, devices

    def trained(self, number: int) -> Int[np.ndarray, "own"] | None:
        """The training examples that this process needs in the course of the run.

        Of each batch it needs the rows of its devices. As every epoch deals the rows anew, that is
        its share of the examples in one epoch, and more of them in several.

        Args:
            number: Training examples.

        Returns:
            Numbers of examples, in ascending order; None for all of them on one device.
        """
        config, devices = self._config, self._devices
        if devices.evaluation is None:
            return None
        needed = np.zeros(number, bool)
        if METHODS[config.method].full_every:
            whole = np.arange(number)
            divided = number % devices.data_parts == 0
            needed[devices.own_rows(number)(whole) if divided else whole] = True
        own = devices.own_rows(config.batch_size)
        for step in range(config.steps):
            needed[own(batch_indices(config.seed, step, number, config.batch_size))] = True
            if needed.all():
                break
        return np.flatnonzero(needed)

    def scored(self, number: int) -> Int[np.ndarray, "own"] | None:
        """The examples of an evaluation that this process needs.

        Args:
            number: Examples of the evaluation.

        Returns:
            Numbers of examples, in ascending order; None for all of them on one device.
        """
        if self._devices.evaluation is None:
            return None
        size = scored_rows(self._devices, number, self._config.eval_batch_size)
        own = self._devices.own_rows(size, scored=True)
        starts = np.arange(0, number, size)
        rows = [own(np.minimum(start + np.arange(size), number - 1)) for start in starts]
        return np.unique(np.concatenate(rows))


def scored_rows(devices: OneDevice, number: int, batch_size: int) -> int:
    """Rows of an evaluation's batch: those asked for, so many more that each device has some.

    Example:
        >>> scored_rows(OneDevice(), 12, 100)
        12
    """
    multiple = devices.evaluation_rows
    return -(-min(batch_size, number) // multiple) * multiple
