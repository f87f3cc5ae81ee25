"""What a run is asked to do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import optax

from loren_jax import arguments, journal
from loren_jax.evaluation import Sharded
from loren_jax.runs.callbacks import Callback
from loren_jax.types import PyTree


@dataclass(kw_only=True)
class Plan:
    """What a run of any loss is asked to do.

    Attributes:
      loss: `(params, batch, *frozen) -> scalar`; with `judge` any pytree of arrays.
      params: The parameters to begin with; they are not changed.
      batch: The batch of a step, from its number.
      optimizer: The optimiser, or a description that builds it.
      directory: Where its files are.
      steps: Steps to take.
      evaluate: `params -> scores by name`.
      test: The same of examples that select nothing; called once, on what is kept.
      finish: Called with what is kept before the summary is written; gives more facts for it.
      eval_every: Steps between evaluations; the first and the last step are always evaluated.
      evaluation_passes: Forward passes of an evaluation, for the counts.
      select: Name of the score whose best evaluation is kept, with a minus sign where the lowest
        is the best; None to keep the last parameters.
      patience: With `select`, evaluations without a better one after which to stop.
      trained: Patterns of the leaves to train, such as `head/*`; None for all. A description
        has its own.
      judge: `(observed, batch) -> losses`, of shape (K, S): called on the host with what `loss`
        returned at all queries of a step, each array with axes (K, S) in front. The lower the
        better; `loren_jax.losses.fitness` makes them from rewards.
      frozen: Further arguments of the loss, which no step changes.
      answers: Of `judge`, that each forward pass gives, to be counted; 0 where that says nothing.
      full_batch: All training data, for a method that needs it.
      passes: Forward passes of a step, from its number; by default those of the optimiser.
      inputs: Trees by name that a resumed run must find unchanged; by default the first batch.
      evaluation: The mesh, as `loren_jax.evaluation.sharded` makes it; None leaves all arrays
        where they are. An optimiser that is no description must have been made with it.
      factors: Fan-in vectors that the description has the digest of.
      facts: What the journal's header should say beside, as JSON values.
      config: What `config.json` should say beside, as JSON values.
      told: Facts for the summary, as JSON values.
      title: Heading of the curve.
      label: What the run is called in front of what it shows, where there are several.
      held_out: What the evaluated examples are called.
      shown: Names of the scores that are shown while it runs; None for all.
      checkpoint_every: Steps between checkpoints, from which a resumed run need not replay.
      fsync_every: Steps between journal writes that survive a crash of the machine.
      in_place: Whether `params` may be overwritten, so that no copy of them is made.
      max_nonfinite_steps: Give up after so many steps in a row without a finite loss.
      callbacks: Called with each event as it happens; see `loren_jax.runs.Callback`.
      pause_at: Steps behind which to stop for now, with a checkpoint; without it the run goes on
        to the bits of one that did not pause. What is kept is neither tested nor finished yet.
      resume: Whether to go on with a run that the directory holds.
      overwrite: Whether to replace it.
    """

    loss: Callable[..., Any]
    params: PyTree
    batch: Callable[[int], PyTree]
    optimizer: optax.GradientTransformationExtraArgs | journal.Method
    directory: Path
    steps: int
    evaluate: Callable[[PyTree], Mapping[str, Any]] | None = None
    test: Callable[[PyTree], Mapping[str, Any]] | None = None
    finish: Callable[[PyTree], Mapping[str, Any]] = lambda params: {}
    eval_every: int = 50
    evaluation_passes: int = 0
    select: str | None = None
    patience: int | None = None
    trained: Sequence[str] | None = None
    judge: Callable[[PyTree, PyTree], Any] | None = None
    answers: int = 0
    frozen: tuple[Any, ...] = ()
    full_batch: PyTree | None = None
    passes: Callable[[int], int] | None = None
    inputs: Mapping[str, PyTree] | None = None
    evaluation: Sharded | None = None
    factors: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    label: str = ""
    held_out: str = ""
    shown: tuple[str, ...] | None = None
    checkpoint_every: int = 100
    fsync_every: int = 1
    in_place: bool = False
    max_nonfinite_steps: int = 10
    callbacks: Sequence[Callback] = ()
    pause_at: int | None = None
    resume: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "eval_every", "checkpoint_every", "max_nonfinite_steps"):
            arguments.count(name, getattr(self, name))
        require_choices(self.evaluate, self.select, self.patience, self.trained)
        heard = jax.config.values["jax_enable_preemption_service"]
        if jax.process_count() > 1 and not heard:
            raise ValueError(
                "several processes stop behind one step by JAX's preemption service: call "
                "jax.config.update('jax_enable_preemption_service', True) before "
                "jax.distributed.initialize"
            )
        if self.trained is not None and isinstance(self.optimizer, journal.Method):
            raise ValueError("trained is given, but a Method says itself what is: give it there")

    @property
    def mesh(self) -> str:
        """What a journal calls the devices; empty for one."""
        if self.evaluation is None or self.evaluation.mesh.size == 1:
            return ""
        return ",".join(f"{name}={size}" for name, size in self.evaluation.mesh.shape.items())


def require_choices(
    evaluate: object,
    select: str | None = None,
    patience: int | None = None,
    trained: Sequence[str] | None = None,
) -> None:
    """Raises where what is to be kept, or trained, cannot be meant; arguments as of `Plan`."""
    if select is not None and evaluate is None:
        raise ValueError("select names a score, but there is no evaluate to give it: pass one")
    if select == "loss":
        raise ValueError("select is 'loss', of which the lowest is the best: give '-loss'")
    if patience is not None and select is None:
        raise ValueError("patience needs a score that may select: pass select too")
    if isinstance(trained, str):
        raise TypeError(f"trained is a string: give a list of patterns, [{trained!r}]")
