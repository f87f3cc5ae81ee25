"""Ask and tell: a step whose losses come from anywhere."""

import os
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from loren_jax import arguments, lora
from loren_jax.journal._replay import optimizer_of, replay, require_whole
from loren_jax.journal.records import Journal
from loren_jax.journal.writer import JournalWriter
from loren_jax.precision import loss_dtype
from loren_jax.transformation import form
from loren_jax.transforms import compiled_absorb
from loren_jax.types import PyTree


class Session:
    """A run that is asked for perturbed parameters and told their losses.

    Nothing is called in between: the losses may come from another program, from a machine that
    has only the journal so far (see `resume`), from people, or a day later.

    Args:
      params: the parameters to begin with; not changed.
      optimizer: one of this library's, or a `loren_jax.transforms.chain` behind an estimate.
      log: a journal to which each step is appended; None for none.
      state: the optimiser's state; None for that of a first step.
      steps: steps that the parameters have had.

    Attributes:
      params: the parameters now.
      state: the optimiser's state now.
      steps: steps so far.

    Raises:
      TypeError: the optimiser cannot say where it asks for losses.
      ValueError: an array of the parameters or the state has been deleted.

    >>> import loren_jax
    >>> metric = lambda params: float(np.abs(np.asarray(params) - 1).sum())
    >>> session = Session(jnp.zeros(3), loren_jax.loren(0.05, num_directions=8))
    >>> for _ in range(100):
    ...     session.tell([metric(params) for params in session.ask()])
    >>> metric(session.params) < 0.5
    True
    """

    def __init__(
        self,
        params: PyTree,
        optimizer: optax.GradientTransformationExtraArgs,
        *,
        log: JournalWriter | None = None,
        state: PyTree = None,
        steps: int = 0,
    ):
        if form(optimizer, "ask") is None:
            raise TypeError(
                "optimizer does not say where it asks for losses: pass one of loren_jax (but "
                "mezo_svrg), or loren_jax.transforms.chain(estimate, ...) in place of optax.chain; "
                "loren_jax.losses.outside works with all of them"
            )
        arguments.not_deleted("params", params)
        arguments.not_deleted("state", state)
        self.params = jax.tree.map(jnp.copy, params)
        self.state = jax.jit(optimizer.init)(params) if state is None else state
        self.steps, self._log = steps, log
        displacement = form(optimizer, "displacement")
        self._displacement = None if displacement is None else jax.jit(displacement)
        self._ask, self._absorb = jax.jit(form(optimizer, "ask")), compiled_absorb(optimizer)

    @classmethod
    def resume(
        cls,
        params: PyTree,
        journal: Journal | str | os.PathLike,
        *,
        optimizer: optax.GradientTransformationExtraArgs | None = None,
        log: JournalWriter | None = None,
    ) -> "Session":
        """The session behind the last step of a journal, on whatever machine this is.

        Args:
          params: the parameters that the run began with.
          journal: its journal.
          optimizer: its optimiser; None builds it from the journal's description.
          log: a journal to append to.

        Returns:
          A session that asks what the run would ask next.

        Raises:
          JournalError: see `replay`.
        """
        journal = require_whole(journal)
        optimizer = optimizer_of(journal, optimizer)
        again = replay(params, journal, optimizer=optimizer)
        return cls(again.params, optimizer, log=log, state=again.state, steps=again.steps)

    @property
    def losses_shape(self) -> tuple[int, int]:
        """`(K, S)`: directions a step, and points a direction."""
        return optax.tree.get(self.state, "losses").shape

    def query(self, direction: int, point: int = 0) -> PyTree:
        """The parameters at which one loss is asked for; a perturbed copy.

        Of one of the K directions and one of the scheme's S points; the same however often and in
        whatever order they are asked for.
        """
        return self._ask(self.params, self.state, direction, point)

    def adapters(self, direction: int, point: int = 0) -> dict[str, Any]:
        """The same query as low-rank adapters, for an engine that serves them.

        Such an engine keeps one copy of the parameters and answers for all queries at once, where
        `query` would send each a copy. Of a model of `loren_jax.models`, `export_adapter` writes
        them as PEFT's files, with `rank` and `alpha` those of the directions.

        Args:
          direction: which of the K directions.
          point: which of the scheme's S points.

        Returns:
          What `loren_jax.lora.merge` adds to the parameters; see there.

        Raises:
          TypeError: the optimiser does not say which directions it draws, as one of blocks.
          ValueError: a leaf is moved in another way than by two factors.

        >>> import loren_jax
        >>> params = {"kernel": jnp.ones((6, 4)), "bias": jnp.zeros(4)}
        >>> optimizer = loren_jax.trained(loren_jax.loren(0.1, rank=1), lambda path: "k" in path)
        >>> session = Session(params, optimizer)
        >>> own = session.adapters(2)
        >>> jax.tree.map(jnp.shape, own)
        {'kernel': {'down': (6, 1), 'up': (1, 4)}}
        >>> merged, asked = loren_jax.lora.merge(params, own), session.query(2)
        >>> bool(jnp.allclose(merged["kernel"], asked["kernel"]))
        True
        """
        if self._displacement is None:
            raise TypeError(
                "optimizer does not say which directions it draws, as one that moves another block "
                "each step: send the copy that query() gives, or take another optimizer"
            )
        drawn, multiple = self._displacement(self.params, self.state, direction, point)
        return lora.of_directions(drawn, multiple)

    def ask(self) -> Iterator[PyTree]:
        """All K S queries of the step, direction by direction; one copy is made at a time."""
        directions, points = self.losses_shape
        for direction in range(directions):
            for point in range(points):
                yield self.query(direction, point)

    def tell(self, losses: Float[Array | np.ndarray, "..."] | list[Any]) -> None:
        """Makes the step. A journal takes it first.

        Args:
          losses: in the order of `ask`, K S numbers; what is not finite has no weight.

        Raises:
          ValueError: there are more or fewer losses.
        """
        array = np.asarray(losses, loss_dtype())
        if array.size != np.prod(self.losses_shape):
            directions, points = self.losses_shape
            raise ValueError(
                f"losses are {array.size} numbers, but the step asked for {directions} x {points}; "
                "tell one for each of ask()"
            )
        array = array.reshape(self.losses_shape)
        if self._log is not None:
            self._log.append(self.steps, array)
        self.params, self.state = self._absorb(self.params, self.state, array)
        self.steps += 1
