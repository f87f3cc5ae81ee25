"""One JSON object per line, readable at any time."""

import json

import pytest
from loren_jax.train.metrics import METRICS, MetricsWriter

from loren_jax.train import read_metrics


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
