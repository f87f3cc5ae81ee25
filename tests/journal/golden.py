"""Makes the golden journal: a run that every later version must be able to replay.

    python tests/journal/golden.py     # overwrites golden.journal and golden.json beside this file

Only for a change of the format or of the noise, which is then a change that users must be told of.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import loren_jax
from loren_jax import journal

FILE = Path(__file__).with_name("golden.journal")
EXPECTED = Path(__file__).with_name("golden.json")
STEPS = 12
# One matrix that is drawn block by block, one that is drawn at once, and a vector.
START = {
    name: np.cos(np.arange(np.prod(shape), dtype=np.float64)).reshape(shape).astype(np.float32)
    for name, shape in {"large": (160, 130), "small": (2, 4, 3), "vector": (5,)}.items()
}


def samples(params):
    """A few numbers of every leaf, and how far it has moved in all."""
    found = {}
    for name, leaf in params.items():
        leaf, start = np.asarray(leaf, np.float64), START[name].astype(np.float64)
        picked = leaf.ravel()[:: max(1, leaf.size // 8)]
        found[name] = {"moved": float(np.linalg.norm(leaf - start)), "samples": picked.tolist()}
    return found


def main():
    method = journal.Method("loren", {"learning_rate": 1e-5, "num_directions": 3}, seed=1)
    optimizer = method.build()
    loss = lambda params: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
    step = loren_jax.train_step(loss, optimizer)
    params, state = jax.tree.map(jnp.array, START), jax.jit(optimizer.init)(START)
    FILE.unlink(missing_ok=True)
    with journal.create(FILE, journal.header(START, (3, 1), method=method)) as log:
        for number in range(STEPS):
            losses = step.probe(params, state)
            log.append(number, losses)
            params, state = step.absorb(params, state, losses)
    EXPECTED.write_text(json.dumps(samples(params), indent=1) + "\n")


if __name__ == "__main__":
    main()
