"""One JSON object per line, readable at any time."""

import json

import pytest

from loren_jax.reports import read_metrics
from loren_jax.reports.files import METRICS
from loren_jax.reports.metrics import MetricsWriter, events_until


def test_lines_are_there_at_once(tmp_path):
    path = tmp_path / METRICS
    with MetricsWriter(path) as metrics:
        metrics.write("step", 1, 6, loss=0.5)
        (line,) = read_metrics(path)
        assert line.pop("seconds") >= 0
        assert line == {"event": "step", "step": 1, "forward_passes": 6, "loss": 0.5}
        metrics.write("step", 2, 12, loss=0.25)
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2]


def test_what_is_not_finite_is_null(tmp_path):
    with MetricsWriter(tmp_path / METRICS) as metrics:
        metrics.write(
            "step", 1, 2, loss=float("nan"), losses=[[float("inf")], [1.0]], more={"a": 1}
        )
    refuse = lambda name: pytest.fail(f"{name} is not JSON")
    line = json.loads((tmp_path / METRICS).read_text(), parse_constant=refuse)
    assert (line["loss"], line["losses"], line["more"]) == (None, [[None], [1.0]], {"a": 1})


def test_an_incomplete_line_is_left_out(tmp_path):
    (tmp_path / METRICS).write_text('{"step": 1}\n{"step": 2, "lo')
    assert read_metrics(tmp_path) == [{"step": 1}]


UNTIL_TWO = ("config 0", "evaluation 0", "step 1", "step 2", "warning 2")


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (0, ["config 0"]),
        (2, [*UNTIL_TWO, "evaluation 2"]),
        (3, [*UNTIL_TWO, "evaluation 2", "step 3"]),
    ],
)
def test_a_resumed_run_keeps_what_it_does_not_make_again(tmp_path, step, kept):
    """Evaluated every two steps, and behind the third because of a signal; its clock goes on."""
    events = ["config 0", "evaluation 0", "step 1", "step 2", "warning 2", "evaluation 2"]
    with MetricsWriter(tmp_path / METRICS) as metrics:
        for event in (*events, "step 3", "evaluation 3", "summary 3"):
            name, number = event.split()
            metrics.write(name, int(number), 0)
    found = events_until(tmp_path, step, eval_every=2)
    assert [f"{event['event']} {event['step']}" for event in found] == kept
    with MetricsWriter(tmp_path / METRICS, [*found, {"seconds": 50.0}]) as metrics:
        metrics.write("step", 4, 0)
    assert read_metrics(tmp_path)[-1]["seconds"] >= 50
    assert [path.name for path in tmp_path.iterdir()] == [METRICS]
    assert events_until(tmp_path / "nothing", 9, eval_every=2) == []
