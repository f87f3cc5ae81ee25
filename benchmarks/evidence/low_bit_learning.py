"""What is learned beside weights of 4 bits, and what float32 learns in as many forward passes.

* prompt: SmolLM2-135M from its 4-bit GGUF, SST-2 by a prompt, 60 steps of MeZO with one pair; the
  held-out loss of 96 texts.
* style: stories260K, a reward of 1 where a park occurs, as in `rewards.py`: 150 steps of LOREN with
  16 queries; the reward of greedy answers to 200 held-out prompts. It is packed as it is read.

Each is trained in four ways: all parameters in float32, adapters beside float32, adapters beside
4 bits, and the scales of the 4-bit blocks. The rate of each is the best of its grid by one run of
another seed; then come three seeds.

    python -m benchmarks low_bit_learning prompt --model-file FILE --data-dir DIR
    python -m benchmarks low_bit_learning style --model-file STORIES    # as llama2c.py writes it
    python -m benchmarks low_bit_learning table

Rows that are there are not made again; a minute a row of prompt, half of one of style.
"""

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence.reward_tables import mean_text
from benchmarks.evidence.rewards import TASKS as REWARDS
from benchmarks.evidence.rewards import optimizer as rewarded_optimizer
from benchmarks.evidence.rows import Rows
from benchmarks.record import RESULTS
from loren_jax.reports import read_metrics
from loren_jax.tasks import TASKS
from loren_jax.train import OPTIONS, TrainConfig, TrainRewardConfig, train

FILE = RESULTS / "low_bit_learning.jsonl"
SEEDS, TUNING = (0, 1, 2), 100
ADAPTED = {"lora_rank": 8}
WAYS: dict[str, dict[str, Any]] = {
    "float32": {},
    "adapters": ADAPTED,
    "4 bits, adapters": ADAPTED,
    "4 bits, scales": {},
}
"""What of a configuration makes each; `quantise` is the task's."""
RATES = {
    "prompt": {
        "float32": (1e-6, 3e-6, 1e-5, 3e-5, 1e-4),
        "4 bits, adapters": (1e-4, 1e-3, 1e-2),
        "4 bits, scales": (3e-8, 1e-7, 3e-7, 1e-6),
        "adapters": (1e-4, 1e-3, 1e-2),
    },
    "style": {
        "float32": (3e-5, 1e-4, 3e-4),
        "4 bits, adapters": (1e-3, 3e-3, 1e-2),
        "4 bits, scales": (1e-5, 3e-5, 1e-4),
        "adapters": (1e-3, 3e-3, 1e-2),
    },
}
SCALES = {
    "prompt": {"float32": 1e-3, "4 bits, scales": 1e-4},
    "style": {"4 bits, adapters": 3e-2, "4 bits, scales": 3e-3, "adapters": 3e-2},
}
"""Of the perturbations; 0.01 where the table is silent.

There are rows of a third of those of style, where most runs learn little: see `reward_noise.py`.
"""


def scale_of(task: str, way: str) -> float:
    """The perturbation scale of a way."""
    return SCALES[task].get(way, 1e-2)


def prompted(path: Path, data: Path, way: str, rate: float, seed: int, output: Path) -> Any:
    """A configuration on SST-2."""
    task = TASKS["sst2"].prompt
    slope = {"max_slope": 100.0} if way.endswith("scales") else {}
    method = OPTIONS["mezo"](
        num_directions=1,
        learning_rate=rate,
        perturbation_scale=scale_of("prompt", way),
        **slope,
    )
    return TrainConfig(
        model=str(path),
        data=str(data / "sst2" / "train.tsv"),
        prompt=True,
        template=task.template,
        words=task.words,
        optimizer=method,
        output=output,
        steps=60,
        eval_every=60,
        batch_size=8,
        max_length=32,
        train_examples=512,
        held_out_examples=96,
        eval_batch_size=32,
        seed=seed,
        quantise="file" if way.startswith("4") else None,
        **WAYS[way],
    )


def rewarded(path: Path, way: str, rate: float, seed: int, output: Path) -> Any:
    """A configuration on the reward."""
    task = REWARDS["style"]
    method, prompts = rewarded_optimizer(task, "LOREN", rate)
    data = output.parent / "prompts.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in task.rows()))
    return TrainRewardConfig(
        model=str(path),
        data=str(data),
        reward=task.reward,
        optimizer=dataclasses.replace(method, perturbation_scale=scale_of("style", way)),
        output=output,
        batch_size=prompts,
        steps=task.steps,
        eval_every=task.steps // 5,
        seed=seed,
        quantise="int4" if way.startswith("4") else None,
        **WAYS[way],
        **task.options,
    )


def learned(options: argparse.Namespace, way: str, rate: float, seed: int) -> dict[str, Any]:
    """The row of a run."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run"
        if options.what == "prompt":
            config = prompted(options.model_file, options.data_dir, way, rate, seed, output)
        else:
            config = rewarded(options.model_file, way, rate, seed, output)
        summary = train(config).summary
        events = [event for event in read_metrics(output) if event["event"] == "evaluation"]
    measure = "loss" if options.what == "prompt" else "reward"
    return {
        "task": options.what,
        "way": way,
        "scale": scale_of(options.what, way),
        "learning_rate": rate,
        "seed": seed,
        "before": events[0][measure],
        "after": events[-1][measure],
        "forward_passes": summary.forward_passes,
        "seconds": summary.training_seconds,
    }


def measure(options: argparse.Namespace) -> None:
    """Tunes each way, then runs its seeds."""
    rows = Rows(FILE)

    def run(way: str, rate: float, seed: int) -> dict[str, Any]:
        where = {
            "task": options.what,
            "way": way,
            "scale": scale_of(options.what, way),
            "learning_rate": rate,
            "seed": seed,
        }
        if not rows.has(**where):
            rows.add(learned(options, way, rate, seed))
            print(rows.rows[-1], flush=True)
        return rows.where(**where)[0]

    for way, rates in RATES[options.what].items():
        tuned = best([run(way, rate, TUNING) for rate in rates])
        for seed in SEEDS:
            run(way, tuned, seed)


def best(rows: Sequence[dict[str, Any]]) -> float:
    """The rate that ends with the lowest loss, or the highest reward; NaN never wins."""
    sign = 1 if rows[0]["task"] == "prompt" else -1
    return min(rows, key=lambda row: np.nan_to_num(sign * row["after"], nan=np.inf))[
        "learning_rate"
    ]


def table(rows: Rows) -> str:
    """All that is known, as Markdown."""
    parts = ["# Learning beside weights of 4 bits"]
    titles = {
        "prompt": "SmolLM2-135M, SST-2 by a prompt, 60 steps of one pair: held-out loss",
        "style": "stories260K, a reward on style, 19,200 answers: held-out reward",
    }
    for task, title in titles.items():
        if all(row["seed"] == TUNING for row in rows.where(task=task)):
            continue
        lines = [
            "| | perturbation scale | rate | runs | before | after | change |",
            "|---|---|---|---|---|---|---|",
        ]
        for way in WAYS:
            own = [row for row in rows.where(task=task, way=way) if row["seed"] < TUNING]
            for scale, rate in sorted({(row["scale"], row["learning_rate"]) for row in own}):
                same = [r for r in own if (r["scale"], r["learning_rate"]) == (scale, rate)]
                change = mean_text(row["after"] - row["before"] for row in same)
                before, after = (mean_text(row[at] for row in same) for at in ("before", "after"))
                cells = (way, f"{scale:g}", f"{rate:g}", f"{len(same)}", before, after, change)
                lines.append(f"| {' | '.join(cells)} |")
        parts += [f"## {title}", "\n".join(lines)]
    return "\n\n".join(parts)


def main() -> None:
    """Learns, or writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=[*RATES, "table"])
    parser.add_argument("--model-file", type=Path, help="GGUF of SmolLM2, or stories260K")
    parser.add_argument("--data-dir", type=Path, help="of GLUE, for prompt")
    options = parser.parse_args()
    if options.what == "table":
        text = table(Rows(FILE))
        FILE.with_suffix(".md").write_text(text + "\n")
        print(text)
    elif options.model_file is None:
        parser.error(f"{options.what} needs --model-file: the model that is trained")
    elif options.what == "prompt" and options.data_dir is None:
        parser.error("prompt needs --data-dir: the folder of sst2/train.tsv")
    else:
        measure(options)


if __name__ == "__main__":
    main()
