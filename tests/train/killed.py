"""Resumes a run and kills itself with signal 9 on the way: run by `test_resume.py`.

    python killed.py RUN KIND:NUMBER ...

Each KIND says where: `append`, with half a record written, `checkpoint`, somewhere inside of
writing one, `between` steps, half-way through `judging` answers, or `never`; NUMBER is how many
calls of the sort, or milliseconds, pass before. It prints how often it was killed until the run was
complete.
"""

import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path


def die():
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # until the signal arrives


def die_inside_an_append(number):
    write, calls = os.pwrite, [0]

    def half(file, data, offset):
        calls[0] += 1
        if calls[0] > number:
            write(file, data[: len(data) // 2], offset)
            die()
        return write(file, data, offset)

    os.pwrite = half


def die_inside_a_checkpoint(milliseconds):
    from loren_jax.runs.checkpoints import Checkpoints

    save = Checkpoints.save

    def timed(self, checkpoint):
        threading.Timer(milliseconds / 1000, die).start()
        save(self, checkpoint)

    Checkpoints.save = timed


def die_between(milliseconds):
    from loren_jax.runs.loop import Loop

    run = Loop.run

    def timed(self, *arguments):
        threading.Timer(milliseconds / 1000, die).start()
        return run(self, *arguments)

    Loop.run = timed


def die_while_judging(number):
    from loren_jax.objectives.judge import Judge

    judge, calls = Judge.__call__, [0]

    def half(self, prompts, answers, examples):
        calls[0] += 1
        if calls[0] > number:
            judge(self, *(part[: len(part) // 2] for part in (prompts, answers, examples)))
            die()
        return judge(self, prompts, answers, examples)

    Judge.__call__ = half


def attempt(directory, kind, number):
    """Resumes in a child of its own; how that ended."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        if kind != "never":
            DEATHS[kind](number)
        from loren_jax.train import resume

        resume(directory)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


DEATHS = {
    "append": die_inside_an_append,
    "checkpoint": die_inside_a_checkpoint,
    "between": die_between,
    "judging": die_while_judging,
}


if __name__ == "__main__":
    # Imported once for all children; no back end runs yet, so that a fork is safe.
    import orbax.checkpoint  # noqa: F401
    from transformers import AutoTokenizer  # noqa: F401

    import loren_jax.train  # noqa: F401

    directory, killed = Path(sys.argv[1]), 0
    for moment in sys.argv[2:]:
        kind, number = moment.split(":")
        status = attempt(directory, kind, int(number))
        if os.WIFSIGNALED(status):
            killed += os.WTERMSIG(status) == signal.SIGKILL
        elif os.WEXITSTATUS(status):
            sys.exit(f"{moment}: the run ended with {os.WEXITSTATUS(status)}")
        else:
            break
    print(killed)
