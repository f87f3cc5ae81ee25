"""Sweeps: who is stopped when, what goes on after a kill, and how one is asked for."""

import dataclasses
import json

import pytest
from reports.summaries import SUMMARY

from loren_jax.cli import main
from loren_jax.reports import read_metrics
from loren_jax.runs.loop import Loop
from loren_jax.train import OPTIONS, RunResult, TrainConfig, halving, sweep, train
from loren_jax.train.training import advance, share_of

RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
LOSSES = {0.1: 0.6, 0.2: 0.2, 0.3: 0.5, 0.4: 0.3, 0.5: 0.4, 0.6: 0.9}
"""Held-out losses by rate; those of 0.2 rise, so that another wins in the end."""


@pytest.fixture
def halves(monkeypatch, tmp_path):
    """A sweep of made-up runs; `ran` has the rate and the steps of each that was advanced."""

    class Halves:
        ran, stop_at = [], None

        def advance(self, config, sizes, *, share, label):
            if self.stop_at is not None and len(self.ran) == self.stop_at:
                raise KeyboardInterrupt
            steps, rate = share_of(config.steps, share), config.optimizer.learning_rate
            self.ran.append((rate, steps))
            if rate == 0.6:
                raise FloatingPointError("no loss was finite")
            loss = LOSSES.get(rate, 0.7) + (0.005 * steps if rate == 0.2 else -0.001 * steps)
            paused = share < 1
            summary = dataclasses.replace(
                SUMMARY,
                **{"steps": steps, "planned_steps": config.steps, "interrupted": paused},
                after={"loss": loss, "accuracy": 0.5},
                facts=SUMMARY.facts | ({"paused": True} if paused else {}),
            )
            config.directory.mkdir(exist_ok=True)
            (config.directory / "metrics.jsonl").touch()
            (config.directory / "summary.json").write_text(json.dumps(summary.as_json()))
            return RunResult(summary, config.directory)

        def sweep(self, rates=RATES, **options):
            config = TrainConfig(
                optimizer=OPTIONS["loren"](learning_rate=1.0),
                output=tmp_path / "sweep",
                overwrite=options.pop("overwrite", False),
                steps=options.pop("steps", 80),
            )
            return sweep(config, {"learning-rate": rates}, **options)

    made = Halves()
    monkeypatch.setattr(halving, "advance", made.advance)
    return made


WHOLE = [
    *((rate, 20) for rate in RATES),
    *((rate, 40) for rate in (0.4, 0.2, 0.5)),
    (0.4, 80),
]


def test_the_worse_half_is_stopped_at_each_stage(halves, capsys):
    found = halves.sweep()
    assert halves.ran == WHOLE
    states = [
        (t.options["learning_rate"], t.summary and t.summary.steps, t.state) for t in found.trials
    ]
    assert states == [
        *((0.4, 80, "best"), (0.5, 40, "stopped"), (0.2, 40, "stopped")),
        *((0.3, 20, "stopped"), (0.1, 20, "stopped"), (0.6, None, "no finite loss")),
    ]
    assert found.best.config.optimizer.learning_rate == 0.4
    assert "learning_rate=0.6 (6/6): no loss was finite" in capsys.readouterr().err
    assert halves.sweep().best.options == found.best.options  # all is there
    assert halves.ran == WHOLE


@pytest.mark.parametrize(
    ("eta", "expected"),
    [
        (1, [(rate, 80) for rate in RATES]),
        (3, [*((rate, 27) for rate in RATES), *((rate, 80) for rate in (0.4, 0.2))]),
        (6, [*((rate, 13) for rate in RATES), (0.2, 80)]),
        (7, [(rate, 80) for rate in RATES]),
    ],
)
def test_one_of_so_many_goes_on(halves, eta, expected):
    halves.sweep(eta=eta)
    assert halves.ran == expected


def test_a_single_value_is_one_whole_run(halves):
    found = halves.sweep((0.3,))
    assert halves.ran == [(0.3, 80)]
    assert [(trial.name, trial.state) for trial in found.trials] == [("learning_rate=0.3", "best")]


@pytest.mark.parametrize("killed_at", range(len(WHOLE)))
def test_killed_anywhere_it_goes_on_with_what_is_left(halves, killed_at):
    halves.stop_at = killed_at
    with pytest.raises(KeyboardInterrupt):
        halves.sweep()
    assert halves.ran == WHOLE[:killed_at]
    halves.stop_at = None
    assert halves.sweep().best.options == {"learning_rate": 0.4}
    assert halves.ran == WHOLE


def test_a_run_that_was_killed_before_its_score_was_noted_is_not_run_again(halves, tmp_path):
    halves.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        halves.sweep()
    path = tmp_path / "sweep" / "sweep.json"
    found = json.loads(path.read_text())
    del found["rungs"][0]["learning_rate=0.3"]
    path.write_text(json.dumps(found))
    halves.stop_at = None
    halves.sweep()
    assert halves.ran == WHOLE


def test_another_sweep_in_the_same_directory_is_refused_by_name(halves, tmp_path):
    halves.sweep()
    with pytest.raises(ValueError, match=r"another sweep: learning_rate=0.1 had steps 80 and"):
        halves.sweep(steps=40)
    with pytest.raises(ValueError, match=r"eta was 2 and would be 3; name another"):
        halves.sweep(eta=3)
    with pytest.raises(ValueError, match=r"runs was learning_rate=0.1, .* and would be l"):
        halves.sweep((0.1, 0.2))
    assert halves.ran == WHOLE
    halves.sweep((0.1, 0.2), overwrite=True, steps=40)
    assert halves.ran[len(WHOLE) :] == [(0.1, 20), (0.2, 20), (0.2, 40)]
    (tmp_path / "sweep" / "sweep.json").unlink()
    with pytest.raises(FileExistsError, match=r"holds something that is no sweep"):
        halves.sweep()


def test_no_finite_loss_at_all(halves):
    with pytest.raises(FloatingPointError, match=r"no run of the sweep had a finite loss: lower"):
        halves.sweep((0.6,))


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({}, "vary is empty: name an option"),
        ({"learning-rat": (1.0,)}, "has no option 'learning_rat': did you mean learning_rate"),
        ({"zzz": (1,)}, r"no option 'zzz'; they are \[.*'batch_size', "),
        (
            {"optimizer": (OPTIONS["loren"](), OPTIONS["mezo"]()), "damping": (0.1, 0.2)},
            "vary: damping is no option of mezo",
        ),
        ({"rank": ()}, "rank has no values"),
        ({"rank": (1, 1)}, "rank has a value twice"),
        ({"seeds": ((0, 1),)}, "seeds is of the sweep as a whole"),
        ({"learning_rate": (0.1, -1.0)}, "learning_rate"),
    ],
)
def test_what_cannot_be_varied(tmp_path, vary, message):
    config = TrainConfig(optimizer=OPTIONS["loren"](learning_rate=1.0), output=tmp_path / "sweep")
    with pytest.raises(ValueError, match=message):
        sweep(config, vary)
    assert not (tmp_path / "sweep").exists()


def test_the_optimizer_may_be_varied(halves, tmp_path):
    both = [OPTIONS[name](learning_rate=0.1) for name in ("loren", "mezo")]
    config = TrainConfig(optimizer=both[0], output=tmp_path / "sweep")
    found = sweep(config, {"optimizer": both, "learning_rate": (0.1, 0.2)})
    names = [
        f"optimizer={n},learning_rate={rate}" for n in ("loren", "mezo") for rate in (0.1, 0.2)
    ]
    assert sorted(trial.name for trial in found.trials) == names
    assert [trial.config.method for trial in found.trials[:1]] == [found.best.config.method]


@pytest.fixture
def options(tiny, tmp_path):
    """A small sweep as a command line."""
    given = (
        f"--model {tiny.model} --data sst2 --data-dir {tiny.data_dir} --pooling mean --steps 6 "
        "--batch-size 8 --max-length 16 --train-examples 40 --dev-examples 16 --eval-every 2 "
        "--held-out-examples 20 --eval-batch-size 8 --num-directions 4 --schedule cosine "
        f"--trainable classifier/* --output {tmp_path / 'sweep'}"
    )
    return ["sweep", *given.split(), "--vary", "learning-rate=0.05,1e-9", "--vary=rank=1"]


@pytest.mark.slow
def test_a_sweep_from_a_shell(options, tiny, tmp_path, monkeypatch, capsys):
    """Killed between its stages, and while a run is under way; it ends as a whole run would."""
    monkeypatch.chdir(tmp_path)
    started, place = Loop.run, tmp_path / "sweep"

    def stopping(self, params, state):
        self.interruption.requested = lambda step: self.pause_at is None and step >= 5
        return started(self, params, state)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "run", stopping)
        assert main(options) == 130
    printed, told = capsys.readouterr()
    assert "interrupted: the same command goes on with it" in printed
    assert "learning_rate=1e-9,rank=1 (2/2): step 0/6: dev" in told
    states = {
        n: line.split()[-1] for line in printed.splitlines() for n in ["learning"] if n in line
    }
    assert states == {"learning": "way"}
    assert not list(place.glob("*/model"))[1:]
    assert main(options) == 0
    printed = capsys.readouterr().out
    first, second = printed.splitlines()[1:3]
    (best,) = [line.split()[0] for line in (first, second) if line.endswith("best")]
    (other,) = [line.split()[0] for line in (first, second) if line.endswith("stopped")]
    assert first.startswith(best)
    assert [path.parent.name for path in place.glob("*/model")] == [best]
    summary = json.loads((place / other / "summary.json").read_text())
    assert (summary["steps"], summary["paused"], summary["test"]) == (3, True, None)
    # The command that is printed makes the same model.
    command = next(line for line in printed.splitlines() if line.startswith("the same again: "))
    words = command.removeprefix("the same again: loren-jax ").split()
    assert main([*(word.strip("'") for word in words), "--output", str(tmp_path / "again")]) == 0
    models = [p / "model" / "model.safetensors" for p in (place / best, tmp_path / "again")]
    assert models[0].read_bytes() == models[1].read_bytes()
    assert main(["compare", str(place), "--output", str(tmp_path / "all.png")]) == 0
    assert f"{place / other} is not finished: step 3 of 6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", "sweep varies nothing: give --vary learning-rate=0.03,0.1,0.3"),
        ("--vary learning-rate", "vary: 'learning-rate' is no option with values: write it as"),
        ("--vary rank=1,,2", "vary: 'rank=1,,2' is no option with values"),
        ("--vary", "vary: '' is no option with values"),
        ("--vary rnk=1", "vary: train has no option 'rnk': did you mean rank"),
        ("--vary rank=1 --vary rank=2", "vary: rank is given twice"),
        ("--vary rank=1 --rank 2", "vary: rank is given beside it too"),
        ("--vary optimizer=loren,mezo --vary damping=0.1,1", "damping is no option of mezo"),
        ("--vary optimizer=loren,mezoo", "optimizer 'mezoo' is unknown"),
        ("--vary rank=1 --eta two", "eta is 'two': give a whole number"),
        ("--vary rank=1 --eta 0", "eta"),
        ("--vary rank=1 --resume x", "--resume is of train: the same sweep command again goes on"),
        ("--vary rank=1 --dry-run", "--dry-run is of train: ask it of one of the runs"),
        ("--vary rank=1 --seeds 0 1", "seeds asks for several runs"),
    ],
)
def test_a_command_that_is_wrong_gets_one_line(more, message, tmp_path, capsys):
    given = f"sweep --learning-rate 0.1 --data x.csv --output {tmp_path / 's'} {more}"
    assert main(given.split()) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("loren-jax: error: ")
    assert message in line
    assert not (tmp_path / "s").exists()


def test_a_wrong_value_is_told_though_others_are_read_in_silence(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["sweep", "--data", "x.csv", "--vary", "learning-rate=0.1,fast"])
    assert "fast" in capsys.readouterr().err


def test_the_recipe_is_told_once(halves, tmp_path, capsys):
    out = f"--output {tmp_path / 'sweep'}"
    assert main(f"sweep --data x.csv --vary rank=1,2,3 --eta 1 {out}".split()) == 0
    assert capsys.readouterr().err.count("this is the recipe") == 1


@pytest.mark.slow
@pytest.mark.parametrize("shares", [(0.25, 0.5), (0.3,)])
def test_a_run_that_pauses_ends_in_the_bits_of_one_that_does_not(tiny, tmp_path, shares):
    """At steps with and without an evaluation of its own."""
    config = dataclasses.replace(
        tiny, steps=20, eval_every=5, checkpoint_every=7, schedule="linear"
    )
    whole = train(dataclasses.replace(config, output=tmp_path / "whole"))
    parts = dataclasses.replace(config, output=tmp_path / "parts")
    for share in shares:
        summary = advance(parts, share=share).summary
        assert (summary.steps, summary.interrupted, summary.test) == (20 * share, True, None)
        assert not (tmp_path / "parts" / "model").exists()
    again = advance(parts)
    plain = lambda s: {
        n: value
        for n, value in s.as_json().items()
        if not n.endswith(("seconds", "bytes", "per_second"))
    }
    assert plain(again.summary) == plain(whole.summary)
    tensors = [tmp_path / n / "model" / "model.safetensors" for n in ("whole", "parts")]
    assert tensors[0].read_bytes() == tensors[1].read_bytes()
    events = [
        [
            {n: v for n, v in line.items() if n != "seconds"}
            for line in read_metrics(r.directory)[1:-1]
        ]
        for r in (whole, again)
    ]
    assert events[0] == events[1]
