"""What earlier versions wrote is read with what it meant then.

`earlier.json` was made by version 0.1.0: descriptions as its `Method.as_json` wrote them, the
losses of four steps, and where the parameters were behind them. `defaults_0_1_0.json` are the
defaults of its methods.
"""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from loren_jax import journal
from loren_jax.journal import earlier

GOLDEN = json.loads(Path(__file__).with_name("earlier.json").read_text())
DEFAULTS = json.loads(Path(__file__).with_name("defaults_0_1_0.json").read_text())
START = {
    "bias": np.ones(3, np.float32),
    "kernel": np.cos(np.arange(15.0)).reshape(5, 3).astype(np.float32),
    "layers": {"kernel": np.sin(np.arange(24.0)).reshape(2, 4, 3).astype(np.float32)},
}
FACTORS = {"kernel": np.cos(np.arange(10.0)).reshape(5, 2).astype(np.float32)}
GONE = ("tiled",)


def written(name, path):
    """The journal of a case, with the header's description as it was."""
    losses = np.asarray(GOLDEN[name]["losses"], np.float32)
    header = journal.header(START, losses.shape[1:]) | {"method": GOLDEN[name]["method"]}
    with journal.create(path, header) as log:
        for number, own in enumerate(losses):
            log.append(number, own)
    if header["method"].get("factors") is not None:
        journal.factors.save(path, FACTORS)
    return path


@pytest.mark.parametrize("name", [name for name in GOLDEN if name not in GONE])
def test_a_journal_of_version_0_1_0_replays(name, tmp_path):
    """To the bit where they were made; elsewhere within what versions may differ by."""
    after = journal.replay(START, written(name, tmp_path / "run.journal")).params

    def same(start, found, expected):
        expected = np.asarray(expected, np.float32)
        moved = np.linalg.norm(expected - start)
        assert np.linalg.norm(found - expected) <= journal.TOLERANCE * moved + 1e-7

    jax.tree.map(same, START, after, GOLDEN[name]["params"])


def test_a_tiled_covariance_is_gone(tmp_path):
    path = written("tiled", tmp_path / "run.journal")
    with pytest.raises(
        journal.JournalError, match=r'"tiled", which left loren after version 0\.1\.0.*optimizer='
    ):
        journal.replay(START, path)
    optimizer = journal.Method("mezo", {"learning_rate": 0.1, "num_directions": 6}).build()
    assert journal.replay(START, path, 0, optimizer=optimizer).steps == 0


@pytest.mark.parametrize("name", DEFAULTS)
def test_what_version_0_1_0_left_out_has_its_defaults(name):
    """A default that has changed since needs a line in `earlier.DEFAULTS`."""
    description = journal.Method(name, {"learning_rate": 0.1}).as_json()
    description["knobs"] = {"learning_rate": 0.1}
    knobs = journal.Method.from_json(description).as_json()["knobs"]
    expected = {n: v for n, v in DEFAULTS[name].items() if n not in ("covariance", "structure")}
    assert json.loads(json.dumps({n: knobs[n] for n in expected})) == expected


def test_descriptions_name_every_knob_so_that_a_later_default_changes_none(monkeypatch):
    method = journal.Method("loren", {"learning_rate": 0.1})
    written = json.loads(json.dumps(method.as_json()))
    assert {"rank", "momentum", "damping"} <= written["knobs"].keys()
    assert not {"mask", "key", "evaluation", "matrix_axes"} & written["knobs"].keys()
    monkeypatch.setitem(earlier.DEFAULTS, "loren", {"rank": 7, "momentum": 0.5})
    assert journal.Method.from_json(written) == method
    few = {**written, "knobs": {"learning_rate": 0.1, "rank": 1}}
    read = journal.Method.from_json(few)
    assert (read.knobs["rank"], read.knobs["momentum"]) == (1, 0.5)


def test_descriptions_of_today_come_out_as_they_went_in():
    for name in ("loren", "mezo", "lozo"):
        knobs = journal.Method(name, {"learning_rate": 0.1}).knobs
        assert earlier.translate(name, knobs) == (name, knobs)
