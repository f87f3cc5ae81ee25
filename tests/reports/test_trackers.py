"""Other programs that show a run; their packages are made up, but for tensorboardX in one test."""

import importlib.util
import json
import sys
import types

import pytest

from loren_jax.cli import main
from loren_jax.reports import TensorBoard, WeightsAndBiases
from loren_jax.train import OPTIONS, TrainConfig

EVENTS = [
    {"event": "config", "step": 0, "forward_passes": 0, "seconds": 0.0, "config": {"steps": 2}},
    {"event": "evaluation", "step": 0, "forward_passes": 0, "seconds": 0.1, "accuracy": 0.5},
    {"event": "step", "step": 1, "forward_passes": 4, "seconds": 0.2, "loss": 0.7, "losses": [[1]]},
    {"event": "step", "step": 2, "forward_passes": 8, "seconds": 0.3, "loss": None, "losses": []},
    {"event": "warning", "step": 2, "forward_passes": 8, "seconds": 0.3, "text": "no loss"},
    {"event": "evaluation", "step": 2, "forward_passes": 8, "seconds": 0.4, "accuracy": 0.75,
     "best": True},
    {"event": "summary", "step": 2, "forward_passes": 8, "seconds": 0.5, "accuracy_after": 0.75,
     "test": {"f1": 1.0}},
]  # fmt: skip
SCALARS = [
    *((0, "evaluation/forward_passes", 0), (0, "evaluation/accuracy", 0.5)),
    *((1, "training/forward_passes", 4), (1, "training/loss", 0.7)),
    (2, "training/forward_passes", 8),
    *((2, "evaluation/forward_passes", 8), (2, "evaluation/accuracy", 0.75)),
]


@pytest.fixture
def package(monkeypatch):
    """Puts a made-up package in the place of one."""

    def put(name, **contents):
        module = types.ModuleType(name)
        vars(module).update(
            contents, __spec__=importlib.util.spec_from_loader(name, None, origin="x")
        )
        monkeypatch.setitem(sys.modules, name, module)

    return put


def test_tensorboard_gets_the_numbers_of_steps_and_evaluations(package, tmp_path):
    told = []

    class SummaryWriter:
        def __init__(self, logdir):
            told.append(logdir)

        def add_scalar(self, name, value, step):
            told.append((step, name, value))

        def flush(self):
            told.append("flush")

        def close(self):
            told.append("close")

    package("tensorboardX", SummaryWriter=SummaryWriter)
    board = TensorBoard(tmp_path / "run")
    board.close()  # a run that came to nothing
    assert told == []
    for event in EVENTS:
        board(event)
    board.close()
    assert told[0] == str(tmp_path / "run" / "tensorboard")
    assert [entry for entry in told if isinstance(entry, tuple)] == SCALARS
    assert told.count("flush") == 2
    assert told[-1] == "close"


def test_tensorboard_itself(tmp_path):
    """Where tensorboardX is installed: what it wrote has the names in it."""
    pytest.importorskip("tensorboardX")
    board = TensorBoard(tmp_path)
    for event in EVENTS:
        board(event)
    board.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert file.read_bytes().count(b"evaluation/accuracy") >= 2


def test_wandb_goes_on_with_the_run_that_it_began(package, tmp_path):
    begun, logged, summary = [], [], {}

    class Run:
        def __init__(self):
            self.summary = summary

        def log(self, values, step):
            logged.extend((step, name, value) for name, value in values.items())

        def finish(self):
            logged.append("finish")

    def init(**options):
        begun.append(options)
        return Run()

    package("wandb", init=init)
    (tmp_path / "run").mkdir()
    for part in (EVENTS[:3], EVENTS[3:]):  # the second as after a resume
        tracker = WeightsAndBiases(tmp_path / "run")
        for event in part:
            tracker(event)
        tracker.close()
    assert [entry for entry in logged if entry != "finish"] == SCALARS
    assert logged.count("finish") == 2
    assert summary == {"accuracy_after": 0.75, "forward_passes": 8, "seconds": 0.5}
    first, second = begun
    assert first["config"] == {"steps": 2}
    assert first["id"] == second["id"]
    assert (first["resume"], first["dir"], first["name"]) == ("allow", str(tmp_path / "run"), "run")
    tracker = WeightsAndBiases(tmp_path / "run")
    tracker(EVENTS[0])  # a run that replaces it
    assert begun[-1]["id"] != first["id"]


@pytest.mark.parametrize(
    ("name", "package_name"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")]
)
def test_an_absent_package_is_said_with_the_command_before_anything_is_done(
    name, package_name, tmp_path, monkeypatch, capsys
):
    found = importlib.util.find_spec
    absent = lambda asked, *rest: None if asked == package_name else found(asked, *rest)
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    (tmp_path / package_name).mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    given = f"train --data x.csv --learning-rate 0.1 --output {tmp_path / 'run'} --report-to {name}"
    assert main(given.split()) == 2
    assert capsys.readouterr().err == (
        f"loren-jax: error: --report-to: {name} needs the package {package_name}: pip install "
        f"{package_name}\n"
    )
    assert not (tmp_path / "run").exists()


def test_another_program_is_refused():
    config = TrainConfig(optimizer=OPTIONS["loren"](learning_rate=0.1), report_to=("wandb",))
    again = TrainConfig.from_json(json.loads(json.dumps(config.as_json())))
    assert again.report_to == config.report_to == ("wandb",)
    object.__setattr__(config, "report_to", ("mlflow",))  # as where types are not checked
    with pytest.raises(ValueError, match=r"report_to is 'mlflow': give tensorboard or wandb"):
        config.__post_init__()
