"""Runs side by side, from directories made by hand; whole runs are in tests/train."""

import csv
import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from reports.summaries import SUMMARY

from loren_jax import fit, loren, mezo
from loren_jax.cli import main
from loren_jax.reports import comparison_table, group_runs, plot_comparison, read_runs
from loren_jax.reports.comparison import reported_scores, varied_options


def write_run(directory, *, seed=0, accuracy=0.7, finished=True, metric="accuracy", **config):
    directory.mkdir(parents=True)
    config = {
        **{"optimizer": {"name": "loren", "learning_rate": 0.1}, "model": "m", "data": "sst2"},
        **{"protocol": "clean", "seed": seed, "steps": 4, "output": str(directory)},
        **config,
    }
    (directory / "config.json").write_text(json.dumps({"config": config}))
    events = [{"event": "config", "step": 0, "forward_passes": 0}]
    for step in (0, 2, 4) if finished else (0, 2):
        numbers = {"step": step, "forward_passes": 6 * step}
        events.append({"event": "evaluation", **numbers, "loss": 0.5, "accuracy": accuracy})
    lines = [json.dumps(event) for event in events]
    (directory / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    if finished:
        test = {"metrics": {metric: accuracy - 0.1}, "majority_accuracy": 0.51}
        summary = {
            **{"protocol": "clean", "metric": metric, "selected_score": accuracy, "test": test},
            **{"accuracy_after": accuracy, "majority_accuracy": 0.5, "training_seconds": 12.34},
        }
        (directory / "summary.json").write_text(json.dumps(summary))
    return directory


def table(*paths):
    return comparison_table(group_runs(read_runs(paths))).splitlines()


def test_seeds_are_put_together(tmp_path):
    several = [write_run(tmp_path / f"s{n}", seed=n, accuracy=0.7 + n / 10) for n in range(3)]
    other = write_run(tmp_path / "other", optimizer={"name": "mezo", "learning_rate": 0.1})
    head, first, second = table(*several, other)
    names = ["run", "optimizer", "model", "data", "varied", "seeds", "steps", "forward", "passes"]
    assert head.split() == [*names, "kept", "test", "seconds", "protocol", "majority"]
    assert first.split()[:4] == ["s0", "+2", "loren", "m"]
    for words in ("0,1,2", "0.800 ± 0.100", "0.700 ± 0.100", "0.510", "12.3", " 24 "):
        assert words in first
    assert second.startswith("other ")
    assert second.split()[-5:] == ["0.700", "0.600", "12.3", "clean", "0.510"]


def test_a_directory_of_seeds_stands_for_its_runs(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / "all" / f"seed{seed}", seed=seed)
    runs = read_runs([tmp_path / "all", tmp_path / "all" / "seed1"])
    assert [run.directory.name for run in runs] == ["seed0", "seed1"]


def test_what_was_varied_is_shown_and_nothing_else(tmp_path):
    rates = [0.1, 0.3]
    for number, rate in enumerate(rates):
        write_run(
            tmp_path / f"run{number}",
            optimizer={"name": "loren", "learning_rate": rate, "rank": 1},
            batch_size=8 * (number + 1),
            words=None if number else ["bad", "good"],
        )
    groups = group_runs(read_runs([tmp_path]))
    assert varied_options(groups) == [
        "learning_rate=0.1, batch_size=8, words=['bad', 'good']",
        "learning_rate=0.3, batch_size=16",
    ]
    assert varied_options(groups[:1]) == [""]
    first, second = table(tmp_path)[1:]
    assert first.startswith("run0 ")
    assert "learning_rate=0.3, batch_size=16" in second


def test_an_objective_has_columns_of_its_own(tmp_path):
    for number in range(2):
        path = write_run(tmp_path / f"run{number}", seed=number) / "summary.json"
        own = {"columns": ["perplexity", "corpus"], "perplexity": 8.0 + number, "corpus": "tales"}
        path.write_text(json.dumps(json.loads(path.read_text()) | own))
    head, row = table(tmp_path)
    assert head.split()[-3:] == ["seconds", "perplexity", "corpus"]
    assert row.endswith("8.500 ± 0.707  tales")
    write_run(tmp_path / "other", data="rte")  # one that says nothing of columns
    assert table(tmp_path)[0].split()[-4:] == ["protocol", "majority", "perplexity", "corpus"]


def test_a_folder_of_seeds_gives_its_runs_their_name(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / "all" / f"seed{seed}", seed=seed)
    (tmp_path / "all" / "seeds.json").write_text("{}")
    assert table(tmp_path / "all")[1].startswith("all ")


@pytest.mark.parametrize("stopped", [False, True])
def test_an_unfinished_run_is_marked_and_in_no_mean(tmp_path, stopped):
    """Nor one that a signal ended, which has a summary."""
    write_run(tmp_path / "done")
    cut = write_run(tmp_path / "cut", seed=1, finished=False)
    if stopped:
        summary = json.loads((tmp_path / "done" / "summary.json").read_text())
        stopped = {**summary, "interrupted": True, "accuracy_after": 0.0}
        (cut / "summary.json").write_text(json.dumps(stopped))
    _, row, note = table(tmp_path / "done", cut)
    assert "0,1 (unfinished)" in row
    assert "2-4" in row
    assert row.split()[-5:] == ["0.700", "0.600", "12.3", "clean", "0.510"]
    assert note == f"{cut} is not finished: step 2 of 4"
    assert table(cut)[1].split()[-5:] == ["-", "-", "-", "clean", "-"]


def test_a_metric_that_is_not_accuracy_is_named(tmp_path):
    write_run(tmp_path / "run", metric="matthews", accuracy=0.4)
    assert "0.400 matthews  0.300 matthews" in table(tmp_path / "run")[1]


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (None, FileNotFoundError, "no directory"),
        (lambda path: path.mkdir(), FileNotFoundError, "holds no run"),
        (lambda path: (write_run(path) / "config.json").unlink(), ValueError, "is damaged"),
        (lambda path: (write_run(path) / "summary.json").write_text("{"), ValueError, "is damaged"),
        (lambda path: (write_run(path) / "config.json").write_text("{}"), ValueError, "is damaged"),
    ],
)
def test_what_is_no_run(edit, error, message, tmp_path):
    path = tmp_path / "run"
    if edit:
        edit(path)
    with pytest.raises(error, match=f"runs: .*{message}"):
        read_runs([path])


def test_a_picture_is_drawn_also_of_a_run_of_no_classifier(tmp_path):
    paths = [write_run(tmp_path / f"s{n}", seed=n, accuracy=0.7 + n / 10) for n in range(2)]
    paths.append(write_run(tmp_path / "cut", finished=False, data="rte"))
    own = write_run(tmp_path / "own")
    (own / "config.json").write_text(json.dumps({"config": {"steps": 4}}))
    metrics = (own / "metrics.jsonl").read_text()
    (own / "metrics.jsonl").write_text(metrics.replace("accuracy", "error"))
    (own / "summary.json").write_text(json.dumps({"error_after": 0.1, "training_seconds": 1.0}))
    groups = group_runs(read_runs([*paths, own]))
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    for kind, start in starts.items():
        plot_comparison(groups, tmp_path / "new" / f"all{kind}")
        assert (tmp_path / "new" / f"all{kind}").read_bytes().startswith(start)
    with pytest.raises(ValueError, match=r"ends in none of \.png, \.pdf, \.svg"):
        plot_comparison(groups, tmp_path / "all.xls")
    assert not (tmp_path / "all.xls").exists()
    assert len(list((tmp_path / "new").iterdir())) == len(starts)
    assert "0.100 error  -" in table(own)[1]


def test_runs_of_other_optimisers_are_no_seeds_of_each_other(tmp_path):
    """Though `fit` knows no words for them."""
    loss = lambda params, x: jnp.mean((params - x) ** 2)
    batches = np.ones((2, 3), np.float32)
    ways = {"one": (loren(0.1, key=0), 3), "two": (loren(0.1, key=1), 3), "mezo": (mezo(0.1), 3)}
    for name, (optimizer, steps) in ways.items():
        fit(
            loss, jnp.zeros(3), batches, optimizer=optimizer, directory=tmp_path / name, steps=steps
        )
    groups = group_runs(read_runs([tmp_path]))
    assert sorted([run.directory.name for run in group] for group in groups) == [
        ["mezo"],
        ["one", "two"],
    ]
    assert "mezo" in comparison_table(groups)


TEST = {"loss": 0.5, "accuracy": 0.7, "matthews": 0.4, "majority_accuracy": 0.6, "examples": 10}
PLAIN = {"held-out accuracy": 0.766, "majority class": 0.534, "training seconds": 80.0}
TESTED = {
    **{"held-out accuracy": 0.766, "training seconds": 80.0, "test majority class": 0.6},
    **{"test loss": 0.5, "test accuracy": 0.7, "test matthews": 0.4},
}


def test_scores_that_are_worth_a_mean():
    assert reported_scores(SUMMARY.as_json()) == PLAIN
    assert reported_scores(dataclasses.replace(SUMMARY, test=TEST).as_json()) == TESTED


def test_the_scores_of_a_summary_of_version_0_1_0():
    """It had the other metrics of a test apart, and no name for what was evaluated."""
    test = {"accuracy": 0.7, "loss": 0.5, "metrics": {"matthews": 0.4}, "majority_accuracy": 0.6}
    old = {"accuracy_after": 0.8, "selected_step": 3, "training_seconds": 2.0, "test": test}
    found = reported_scores(old)
    assert (found["dev accuracy"], found["test accuracy"], found["test matthews"]) == (
        0.8,
        0.7,
        0.4,
    )
    assert found["test majority class"] == 0.6


def test_compare_writes_its_table_and_fits_the_terminal(tmp_path, monkeypatch, capsys):
    for number, rate in enumerate((0.1, 0.3)):
        for seed in (0, 1):
            options = {"name": "loren", "learning_rate": rate}
            place = tmp_path / f"rate{number}" / f"seed{seed}"
            write_run(place, seed=seed, accuracy=0.6 + rate + seed / 10, optimizer=options)
        (tmp_path / f"rate{number}" / "seeds.json").write_text("{}")
    monkeypatch.setenv("COLUMNS", "80")
    runs = [str(tmp_path / f"rate{number}") for number in range(2)]
    more = ["--output", str(tmp_path / "all.svg"), "--table", str(tmp_path / "all.csv")]
    assert main(["compare", *runs, *more]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[:-2])) <= 80
    assert "rate1" in [line.split()[0] for line in lines[:-2] if "0.950 ± 0.071" in line]
    assert lines[-2:] == [f"written: {tmp_path / 'all.csv'}", f"drawn: {tmp_path / 'all.svg'}"]
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["learning_rate"] for row in rows] == ["0.1", "0.3"]
    assert float(rows[1]["kept"]) == pytest.approx(0.95)
    assert float(rows[1]["kept std"]) == pytest.approx(0.1 / 2**0.5)
