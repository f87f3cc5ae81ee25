"""What the tables of the benchmarks rest on: the choice of a rate, targets, comparisons, rows."""

import numpy as np
import pytest

from benchmarks.evidence.rows import Rows
from benchmarks.evidence.tables import (
    common_level,
    contrast,
    fall_target,
    markdown,
    passes_to,
    spread,
)
from benchmarks.evidence.tuning import choose, grid, rate


def test_the_grid_has_two_rates_a_decade():
    assert grid(-4, 1) == (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@pytest.mark.parametrize("best", [-7, -3, 0, 5])
def test_the_best_rate_is_found_inside_or_beyond_the_first_range(best):
    score = lambda r: (np.log10(r) - np.log10(rate(best))) ** 2
    chosen, scores = choose(lambda rates: {r: score(r) for r in rates}, -3, 0)
    assert chosen == rate(best)
    assert min(scores) < chosen < max(scores)


def test_the_search_goes_down_where_all_have_diverged():
    score = lambda r: abs(np.log10(r) + 4) if r < 3e-3 else 9 - np.log10(r)
    measure = lambda rates: {r: score(r) for r in rates}
    assert choose(measure, -4, -2, start=8.0)[0] == rate(-8)


def test_a_rate_without_an_optimum_ends_at_the_bound():
    chosen, scores = choose(lambda rates: {r: -r for r in rates}, -3, 0, furthest=4)
    assert chosen == max(scores) == rate(4)


def test_the_target_is_what_half_of_the_methods_reach():
    best = [0.9, 0.5, 0.2]
    assert common_level([0.1, 0.3, 0.5, 0.7], lambda level: [level <= b for b in best]) == 0.5
    assert common_level([0.7], lambda level: [level <= b for b in best]) is None


def test_a_target_is_a_share_of_what_gradients_reach():
    row, ceiling = {"dev loss": [1.0, 0.9]}, {"dev loss": [1.0, 0.4, None, 0.5]}
    assert fall_target(row, ceiling, 0.5) == pytest.approx(0.7)


def test_passes_to_a_target_count_to_the_first_evaluation_below_it():
    row = {"passes": [0, 6, 12], "dev loss": [1.0, None, 0.4]}
    assert passes_to(row, "dev loss", lambda loss: loss <= 0.5) == 12
    assert passes_to(row, "dev loss", lambda loss: loss <= 0.3) is None


def test_a_contrast_is_paired():
    first = [0.1, 0.5, 0.9]
    assert contrast(first, [x + 0.01 for x in first])[1] == "lower"
    assert contrast(first, [0.2, 0.5, 0.8])[1] == "no difference found"


def test_diverged_runs_are_named():
    assert spread([1.0, float("nan")]) == "diverged"
    assert "-" in markdown([{"a": None}])


def test_rows_survive_a_cut_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = Rows(path)
    rows.add({"kind": "run", "seed": np.int64(3), "curve": np.ones(2)})
    with path.open("a") as file:
        file.write('{"kind": "run", "see')
    again = Rows(path)
    assert again.has(kind="run", seed=3)
    again.add({"kind": "run", "seed": 4})
    assert [row["seed"] for row in Rows(path)] == [3, 4]
    assert again.runs[0]["environment"]["versions"]
