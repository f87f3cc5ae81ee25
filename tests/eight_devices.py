"""Checks that need eight devices, which a process must be told of before JAX starts.

    python tests/eight_devices.py noise traffic    # prints JSON

Tests call `found`, which runs it in a process of its own and keeps what it prints. The checks are
in `mesh_checks`.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

RUNS = ("trained", "paced", "reading", "packed")
"""Checks of whole runs and of files, of one process."""


@functools.cache
def found(*checks):
    """What checks found, of a process with eight devices; run once."""
    root = Path(__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-W", "error", __file__, *checks],
        capture_output=True,
        text=True,
        timeout=1500,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])},
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return json.loads(result.stdout.splitlines()[-1])


if __name__ == "__main__":
    FLAG = "--xla_force_host_platform_device_count=8"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}".strip()

    import jax
    from mesh_checks import runs, steps, traffic

    CHECKS = {
        check.__name__: check
        for check in (
            *(steps.steps, steps.more_steps, steps.methods, steps.explicit),
            *(traffic.noise, traffic.traffic, traffic.more_traffic, traffic.packed_traffic),
            *(runs.trained, runs.paced, runs.reading, runs.texts, runs.packed),
        )
    }
    jax.config.update("jax_numpy_rank_promotion", "raise")
    print(json.dumps({name: CHECKS[name]() for name in sys.argv[1:]}))
