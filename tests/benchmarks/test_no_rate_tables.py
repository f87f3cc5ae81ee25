"""Tables of runs without a learning rate, of rows that are made up."""

import json

import pytest

from benchmarks.evidence.rows import Rows
from benchmarks.research.no_rate_tables import tables

TASK = "sst2, head"


def rows_of(path, rows):
    path.write_text("".join(json.dumps({"run": 0, **row}) + "\n" for row in rows))
    return Rows(path)


def tuned(seed, losses, method="mezo"):
    run = {"task": TASK, "method": method, "kind": "run", "seed": seed}
    return run | {"passes": [0, 100, 200, 400], "dev loss": losses}


def untuned(variant, means, curves):
    row = {"setting": "head", "data": "sst2", "method": "mezo", "variant": variant}
    row |= {"walk": "endured", "seeds": [0, 1], "extra passes": 76, "passes": [0, 100, 200, 400]}
    return row | {"mean": means, "last": [curve[-1] for curve in curves], "curves": curves}


def confirmed(seed, losses, **own):
    row = {"trained": "tail", "budget": 1920, "method": "mezo", "passes": 2, "seed": seed}
    return row | {"rate": None, "at": [100, 200, 300], "dev loss": losses, **own}


@pytest.fixture
def text(tmp_path):
    queries = [tuned(0, [0.7, 0.6, 0.5, 0.4]), tuned(1, [0.7, 0.62, 0.5, 0.4])]
    falling = [[0.7, 0.58, 0.5, 0.4], [0.7, 0.7, 0.7, 0.71]]
    found = [untuned("former", [0.9, 0.9], falling), untuned("newest", [0.51, 0.53], falling)]
    sentence = {"data": "films", "method": "mezo", "seeds": [0, 1]}
    no_rate = [
        sentence | {"kind": "constant", "rate": rate, "mean": [mean, mean]}
        for rate, mean in ((0.1, 0.6), (1.0, 0.5))
    ]
    no_rate.append(
        sentence
        | {"kind": "none", "rate": None, "mean": [0.55, 0.55], "start": [0.7, 0.7]}
        | {"last": [0.5, 0.8], "extra passes": 64}
    )
    confirm = [
        confirmed(0, [0.7, 0.65, 0.6], rate=0.1),
        confirmed(1, [0.7, 0.69, 0.68], rate=0.1),
        confirmed(0, [0.7, 0.7, 0.65], answers="alone"),
        confirmed(1, [0.7, 0.6, 0.6], answers="alone"),
    ]
    names = {"untuned": found, "no_rate": no_rate, "queries": queries}
    made = {name: rows_of(tmp_path / f"{name}.jsonl", rows) for name, rows in names.items()}
    return tables(made["untuned"], made["no_rate"], confirm, made["queries"])


def line_of(text, *cells):
    return next(line for line in text.splitlines() if line.startswith("| " + " | ".join(cells)))


def test_the_newest_rows_count_and_are_compared_seed_by_seed(text):
    line = line_of(text, TASK, "yes", "mezo")
    assert "| 0.503 ± 0.003 | 0.520 | +0.017 ± 0.007 | **no** | 1 | 19.0% |" in line


def test_the_best_constant_rate_is_what_sentences_are_compared_with(text):
    line = line_of(text, "films", "yes", "mezo")
    assert "| 0.500 ± 0.000 | 0.550 | +0.050 ± 0.000 | **no** | 1 | 1.0% |" in line


def test_passes_are_shares_of_tuned_mezos_and_count_the_search(text):
    # 60, 80 and 95 % of 0.3 below 0.7: after 200, 400 and 400 passes, as MeZO; one run never.
    assert line_of(text, TASK, "mezo", "1.38 (1 of 2)").count("1.19 (1 of 2)") == 2


def test_a_target_that_mezo_misses_is_left_out(text):
    assert line_of(text, "mezo", "1.50 |")
