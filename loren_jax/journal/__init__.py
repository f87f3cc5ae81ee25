"""The journal: a fine-tuning run as a few bytes a step.

A step of a zeroth-order method is determined by the parameters, the optimiser's state and its
losses. So the parameters that a run began with and the losses of its steps are the run: from them
`replay` makes the parameters after any step, without data and without a forward pass.

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

from loren_jax.journal import factors as factors
from loren_jax.journal.header import described as described
from loren_jax.journal.header import differences as differences
from loren_jax.journal.header import header as header
from loren_jax.journal.header import require_same as require_same
from loren_jax.journal.method import Method as Method
from loren_jax.journal.records import Journal as Journal
from loren_jax.journal.records import JournalError as JournalError
from loren_jax.journal.records import read as read
from loren_jax.journal.replay import TOLERANCE as TOLERANCE
from loren_jax.journal.replay import Replayed as Replayed
from loren_jax.journal.replay import replay as replay
from loren_jax.journal.session import Session as Session
from loren_jax.journal.writer import JournalWriter as JournalWriter
from loren_jax.journal.writer import continued as continued
from loren_jax.journal.writer import create as create
