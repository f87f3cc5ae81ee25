"""Runs `loren-jax` in several real processes, and does things to them: run by `test_processes.py`.

    python several_processes.py SCENARIO.json    # prints JSON, an object for each process

The processes are children of this one, which imports what they need once. A scenario has

* `arguments`: of `loren-jax`, the same for all; `{process}`, `{port}` and `{count}` are replaced.
* `count`, `environment`, `logs`: how many, variables, and the folder for what they print.
* `then`: None, or `[act, process, metrics, step]`: what happens to one process once the metrics of
  the run have a step. `kill`, `stop`, `interrupt` and `terminate` are signals.
"""

import json
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

SIGNALS = {
    "kill": signal.SIGKILL,
    "stop": signal.SIGSTOP,
    "interrupt": signal.SIGINT,
    "terminate": signal.SIGTERM,
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def started(scenario, index, port):
    """A child that is one of the processes; its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.environ.update({"JAX_PLATFORMS": "cpu", "LOREN_JAX_TRACEBACK": "1"})
        values = {"{process}": str(index), "{port}": str(port), "{count}": str(scenario["count"])}
        given = lambda text: values.get(text, text.replace("{port}", str(port)))
        os.environ.update({n: given(v) for n, v in scenario.get("environment", {}).items()})
        log = os.open(f"{scenario['logs']}/{index}.log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        configured()
        from loren_jax.cli import main

        code = main([given(argument) for argument in scenario["arguments"]])
        sys.exit(code)  # the ways out of an interpreter count too
    except SystemExit:
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        import atexit

        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(code)


def configured():
    """JAX read the environment before these variables were set."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", int(os.environ.get("JAX_NUM_CPU_DEVICES", "1")))


def reached(metrics, step):
    try:
        lines = Path(metrics).read_text().splitlines()
        return any(json.loads(line)["step"] >= step for line in lines if line.endswith("}"))
    except (OSError, json.JSONDecodeError):
        return False


def played(scenario):
    """How each process ended, and how long after what was done to one of them."""
    port = free_port()
    children = [started(scenario, index, port) for index in range(scenario["count"])]
    left, found, acted = dict(enumerate(children)), {}, None
    act, who, metrics, step = scenario["then"] or [None] * 4
    deadline = time.monotonic() + scenario["timeout"]
    while left and time.monotonic() < deadline:
        if act in SIGNALS and acted is None and reached(metrics, step):
            os.kill(children[who], SIGNALS[act])
            acted = time.monotonic()
        for index, child in list(left.items()):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                del left[index]
                since = None if acted is None else time.monotonic() - acted
                found[index] = {"code": os.waitstatus_to_exitcode(status), "seconds": since}
        if set(left) == {who} and act == "stop":
            os.kill(left[who], signal.SIGKILL)
        time.sleep(0.02)
    for index, child in left.items():
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found[index] = {"code": "timeout", "seconds": None}
    for index in found:
        found[index]["log"] = Path(f"{scenario['logs']}/{index}.log").read_text(errors="replace")
    return [found[index] for index in range(scenario["count"])]


if __name__ == "__main__":
    # Imported once for all children; no back end runs yet, so that a fork is safe.
    import matplotlib.pyplot  # noqa: F401
    import orbax.checkpoint  # noqa: F401
    import tyro  # noqa: F401
    from transformers import AutoTokenizer  # noqa: F401

    import loren_jax.train  # noqa: F401

    print(json.dumps([played(s) for s in json.loads(Path(sys.argv[1]).read_text())]))
