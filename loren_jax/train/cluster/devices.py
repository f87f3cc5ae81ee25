"""Where the arrays of a run lie, of the one device that JAX chooses."""

from typing import Any

import jax
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Int

from loren_jax.evaluation._sharded import Sharded
from loren_jax.tasks import Tokens
from loren_jax.train.cluster.alone import Alone
from loren_jax.types import PyTree


class OneDevice:
    """The one device that JAX chooses; everything is where it is made.

    Attributes:
        peers: The processes of the run.
        evaluation: How an optimiser evaluates its queries; None for its own way.
        sharding: `(path, shape) -> NamedSharding` of the model's parameters; None for one device.
        text: What journals call this; empty for one device.
        evaluation_rows: What the number of rows of an evaluation's batch is a multiple of.
        data_parts: Devices that a training batch is divided among.
    """

    def __init__(self) -> None:
        self.peers = Alone()
        self.evaluation: Sharded | None = None
        self.sharding: Any = None
        self.text = ""
        self.evaluation_rows = self.data_parts = 1

    def place(self, tree: PyTree) -> PyTree:
        """What is trained, where the steps need it."""
        return tree

    def start(self, optimizer: optax.GradientTransformation, params: PyTree) -> PyTree:
        """The optimiser's first state."""
        return jax.jit(optimizer.init)(params)

    def rows(self, batch: Tokens, *, scored: bool = False) -> Tokens:
        """A batch where the steps need it.

        Args:
            batch: All its rows, the same on each process.
            scored: Whether it is an evaluation's, of which each device has other rows.

        Returns:
            The same rows.
        """
        del scored
        return batch

    def all_rows(self, tokens: Tokens) -> Tokens:
        """All examples at once."""
        return jax.device_put(tokens)

    def everywhere(self, tree: PyTree) -> PyTree:
        """Inside of a compiled function: values that each process can read."""
        return tree

    def read(self, leaf: ArrayLike) -> np.ndarray:
        """An array on the host, whole; all processes must ask in one order."""
        return np.asarray(leaf)

    def on_host(self, tree: PyTree) -> PyTree:
        """A tree for a file that process 0 writes; on the others it is of no use."""
        return tree

    def sent(self, tree: PyTree | None, template: PyTree) -> PyTree:
        """A tree that process 0 has read from a file, placed like the template."""
        del template
        return tree

    def told(self, array: np.ndarray | None) -> np.ndarray:
        """An array that process 0 has, on all processes."""
        assert array is not None
        return array

    def loss_groups(self, shape: tuple[int, ...]) -> Int[np.ndarray, "K S"] | None:
        """Which group of devices evaluates each loss of a step; None for one group."""
        del shape
        return None

    def processes(self, group: int | None) -> list[int]:
        """The processes of a group of devices; of all for None."""
        del group
        return [0]

    def facts(self) -> dict[str, Any]:
        """What a run's records say of this."""
        return {}
