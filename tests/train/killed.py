"""Resumes a run and kills itself with signal 9 on the way: run by `test_resume.py`.

    python killed.py RUN KIND NUMBER

KIND says where: `append`, with half a record written, `keyframe`, somewhere inside of writing one,
`between` steps, or `never`; NUMBER is how many calls of the sort, or milliseconds, pass before.
"""

import os
import signal
import sys
import threading
import time
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


def die_inside_a_keyframe(milliseconds):
    from loren_jax.train.keyframes import Keyframes

    save = Keyframes.save

    def timed(self, keyframe):
        threading.Timer(milliseconds / 1000, die).start()
        save(self, keyframe)

    Keyframes.save = timed


def die_between(milliseconds):
    from loren_jax.train.loop import TrainingLoop

    run = TrainingLoop.run

    def timed(self, *arguments):
        threading.Timer(milliseconds / 1000, die).start()
        return run(self, *arguments)

    TrainingLoop.run = timed


if __name__ == "__main__":
    directory, kind, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    if kind != "never":
        {
            "append": die_inside_an_append,
            "keyframe": die_inside_a_keyframe,
            "between": die_between,
        }[kind](number)
    from loren_jax.train.run import resume

    resume(directory)
