"""The benchmark of rewards: fair shares, and tables of its rows."""

from benchmarks.evidence import rewards
from benchmarks.evidence.reward_tables import mean_text
from benchmarks.evidence.rows import Rows


def test_every_method_has_as_many_answers_a_step():
    for task in rewards.TASKS.values():
        asked = {}
        for method in (*rewards.METHODS, *rewards.SEARCHES):
            options, prompts = rewards.optimizer(task, method, 1e-3)
            asked[method] = options.passes() * prompts
        assert set(asked.values()) == {16 * task.prompts}, asked


def test_prompts_differ():
    for rows in (rewards.stories(), rewards.games()):
        assert len({row["prompt"] for row in rows}) == len(rows) == 600


def test_the_rate_is_the_best_of_the_grid_at_another_seed(tmp_path):
    rows = Rows(tmp_path / "rows.jsonl")
    for rate, after in ((1.0, 0.2), (3.0, 0.9), (9.0, 0.5)):
        row = {"task": "style", "method": "LOREN", "rate": rate, "seed": rewards.TUNING}
        rows.add({**row, "after": after})
    assert rewards._best(rows, "style", "LOREN", (1.0, 3.0, 9.0)) == 3.0
    assert rewards._best(rows, "style", "LOREN", (1.0,)) == 1.0


def test_tables_leave_out_the_runs_that_chose_a_rate(tmp_path):
    rows = Rows(tmp_path / "rows.jsonl")
    common = {"kind": "learning", "task": "style", "method": "pairs", "rate": 0.1, "answers": 1280}
    numbers = {"before": 0.1, "tied": 0.5, "vote": None, "seconds": 60.0}
    for seed, after in ((0, 0.5), (1, 0.7), (rewards.TUNING, 0.0)):
        rows.add(
            {
                **common,
                **numbers,
                "seed": seed,
                "after": after,
                "curve": [[0, 0.1], [640, after + 0.2]],
            }
        )
    rows.add({"kind": "noise", "scale": 0.01, "gain": 4.0, "error": 0.5, "signal / noise": 2.0})
    text = rewards.reward_table(rows)
    assert "1,280 answers" in text
    assert (
        "| pairs | 0.1 | 2 | 0.100 ± 0.000 | 0.600 ± 0.100 |  | 640 (1 of 2) | 0.50 | 1.0 |" in text
    )
    assert "| 0.01 | 4.00 ± 0.50 | 2.00 |" in text


def test_one_run_has_no_error():
    assert mean_text([0.25]) == "0.250"
