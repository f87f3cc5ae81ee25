"""Runs: what makes any loop of steps durable, for any loss and any model.

A run has a directory with a lock, a journal, checkpoints, metrics and a curve; it resumes to the
same bits however it stopped, stops on a signal or where no loss is finite, and shows its progress.
It knows no text and no objective; `loren-jax train` is one of its users.

* `_fit`: the public face, `loren_jax.fit`.
* `run`: one run from its directory to its summary.
* `loop`: the steps.
* `directory`, `checkpoints`, `record`: what it writes; `processes`: who writes it.
* `callbacks`: who else hears of it.
"""

from loren_jax.runs._fit import fit
from loren_jax.runs.callbacks import Callback, CallbackError
from loren_jax.runs.directory import InUseError
from loren_jax.runs.run import Fitted, Run
from loren_jax.runs.selection import Selection

__all__ = ["Callback", "CallbackError", "Fitted", "InUseError", "Run", "Selection", "fit"]
