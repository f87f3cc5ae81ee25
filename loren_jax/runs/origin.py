"""What a run began with, and what of it is no longer so."""

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

import jax

from loren_jax import journal, noise
from loren_jax.runs import processes
from loren_jax.runs.plan import Plan
from loren_jax.runs.programs import Programs
from loren_jax.types import PyTree


def origin(run: Plan, programs: Programs, state: PyTree) -> dict[str, Any]:
    """The journal's header: what the run begins with, of which `state` is the optimiser's."""
    inputs = {"first batch": run.batch(0)} if run.inputs is None else dict(run.inputs)
    method = run.optimizer if isinstance(run.optimizer, journal.Method) else None
    if method is None:  # which would say itself what it is
        keys = lambda leaf: noise.words(leaf) if processes.is_key(leaf) else leaf
        inputs["optimizer's first state"] = jax.tree.map(keys, state)
    digests = {n: journal.describe(x, processes.whole)["digest"] for n, x in inputs.items()}
    own = {} if method is not None else {"optimizer": programs.absorb_digest}
    return journal.header(
        run.params,
        programs.losses_shape,
        method=method,
        run={
            **run.facts,
            "frozen": journal.describe(run.frozen, processes.whole),
            "inputs": digests,
            "programs": own | {"loss": programs.loss_digest},
        },
        mesh=run.mesh,
        read=processes.whole,
    )


def require_same_origin(
    recorded: journal.Journal | None, header: Mapping[str, Any], mesh: str
) -> None:
    """Raises unless a run can go on; warns where it goes on up to rounding alone.

    Parameters, optimiser, loss and data must be those of the journal, if there is one here; the
    error names what is not. The header is the one that a run begun now would have, the mesh that
    of this process, empty for one device.
    """
    if recorded is None:
        return
    theirs, ours = recorded.header, header
    journal.require_same(ours["params"], theirs["params"], "the base model")
    if "frozen" in theirs["run"]:
        journal.require_same(ours["run"]["frozen"], theirs["run"]["frozen"], "the base model")
    _require_same_method(recorded, header)
    if tuple(ours["losses"]) != tuple(theirs["losses"]):
        raise journal.JournalError(
            f"{recorded.path}: a step has losses of shape {theirs['losses']}, but the optimiser "
            f"takes {ours['losses']}; use the one that the run began with"
        )
    _require_same_digests(recorded, "inputs", ours["run"]["inputs"])
    if different := journal.differences(theirs, mesh):
        print(
            f"the run began elsewhere ({'; '.join(different)}): what follows is equal up to "
            "rounding, not to the bit",
            file=sys.stderr,
        )
    else:  # another version of JAX writes the same program otherwise
        _require_same_digests(recorded, "programs", ours["run"]["programs"])


def _require_same_method(recorded: journal.Journal, header: Mapping[str, Any]) -> None:
    theirs, ours = recorded.header["method"], header["method"]
    if (theirs is None) != (ours is None):
        raise journal.JournalError(
            f"{recorded.path} was begun with an optimiser "
            + ("without" if theirs is None else "with")
            + " a description (loren_jax.journal.Method); go on with the same"
        )
    if theirs is None:
        return
    then, now = journal.Method.from_json(theirs), journal.Method.from_json(ours)
    for name in (field.name for field in dataclasses.fields(journal.Method)):
        if getattr(then, name) != getattr(now, name):
            raise journal.JournalError(
                f"{recorded.path} is of another optimiser: {name} was {getattr(then, name)} and is "
                f"{getattr(now, name)}; go on with what the run began with"
            )


def _require_same_digests(recorded: journal.Journal, kind: str, ours: Mapping[str, str]) -> None:
    """Older journals know nothing of these."""
    for name, digest in recorded.header["run"].get(kind, {}).items():
        if ours.get(name, digest) != digest:
            raise journal.JournalError(
                f"resume: the {name} of this run is not what it was when the run in "
                f"{recorded.path.parent} began; restore it, or begin anew with another directory"
            )
