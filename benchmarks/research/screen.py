"""Runs plans of settings in law, one after the other, and keeps what is finished.

python benchmarks/research/screen.py --data-dir DIR --plan rates_tail
"""

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from law import Settings, run

sys.path.append(str(Path(__file__).parents[1]))
from record import RESULTS, save


def grid(**choices: Any) -> list[Settings]:
    """All combinations of the lists given; what is no list is fixed."""
    lists = {k: v if isinstance(v, list) else [v] for k, v in choices.items()}
    return [
        Settings(**dict(zip(lists, values, strict=True)))
        for values in itertools.product(*lists.values())
    ]


PLANS: dict[str, list[Settings]] = {
    "tail": [
        *grid(steps=100, rate=[1e-2, 3e-3]),
        *grid(steps=100, covariance="inputs^1", rate=[1e-2, 3e-2]),
        *grid(steps=100, covariance="first 16", rate=[1e-2, 3e-3]),
        *grid(steps=100, covariance="inputs^1", rate=[1e-1]),
        *grid(steps=100, covariance="mean", rate=[3e-3]),
        *grid(steps=100, scheme="pairs", rate=[1.5e-3]),
        *grid(steps=100, covariance="inputs^2", rate=[3e-2]),
    ],
    "all": [
        *grid(trained="all", scheme="pairs", steps=100, rate=[1e-3], test=True),
        *grid(trained="all", covariance="inputs^1", steps=100, rate=[2e-2], test=True),
    ],
    # More passes a step at a rate in proportion: the same law of a run, fewer gradients.
    "moonshot": [
        *grid(passes=64, steps=40, covariance="inputs^1", rate=[0.12, 0.25], test=True),
        *grid(passes=64, steps=80, scheme="pairs", rate=[6e-3, 1.2e-2], test=True),
        *grid(passes=64, steps=50, rate=[1.2e-2, 2.5e-2], test=True),
        *grid(passes=64, steps=40, covariance="first 16", rate=[6e-2], test=True),
    ],
}


def main() -> None:
    """Runs what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--plan", choices=PLANS, required=True)
    options = parser.parse_args()
    name = f"research_{options.plan}"
    path = RESULTS / f"{name}.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    fields = Settings._fields
    done = {json.dumps([row[k] for k in fields]) for row in rows}
    for settings in PLANS[options.plan]:
        if json.dumps(list(settings)) in done:
            continue
        row = run(settings, options.data_dir, lambda text: print(text, flush=True))
        rows.append(json.loads(json.dumps(row)))
        save(name, rows)


if __name__ == "__main__":
    main()
