"""The journal: a fine-tuning run as a few bytes a step.

A step of a zeroth-order method is determined by the parameters, the optimiser's state and its
losses. So the parameters that a run began with and the losses of its steps are the run: from them
`replay` makes the parameters after any step, without data and without a forward pass::

    method = journal.Method("loren", {"learning_rate": 1e-4, "rank": 1}, seed=0)
    step = loren_jax.train_step(loss, method.build())
    params = jax.tree.map(jnp.copy, base_params)  # absorb changes what it is given in place
    state = method.build().init(params)
    with journal.create("run.journal", journal.header(params, (6, 1), method=method)) as log:
        for t in range(1000):
            losses = step.probe(params, state, batch(t))
            log.append(t, losses)
            params, state = step.absorb(params, state, losses)

`Session` asks for perturbed parameters and is told their losses, where these come from elsewhere.

The format of the file is described in `records`.
"""

from loren_jax.journal import factors
from loren_jax.journal._header import axes_of, describe, differences, header, require_same
from loren_jax.journal._replay import TOLERANCE, Replayed, replay
from loren_jax.journal.method import Method, allow
from loren_jax.journal.records import Journal, JournalError, read
from loren_jax.journal.session import Session
from loren_jax.journal.writer import JournalWriter, create, reopen

__all__ = [
    "TOLERANCE",
    "Journal",
    "JournalError",
    "JournalWriter",
    "Method",
    "Replayed",
    "Session",
    "allow",
    "axes_of",
    "create",
    "describe",
    "differences",
    "factors",
    "header",
    "read",
    "reopen",
    "replay",
    "require_same",
]  # fmt: skip
