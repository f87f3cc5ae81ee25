"""What stands beside LOREN: gradients with and without checkpoints, adapters, official loops."""

import importlib.util

import jax
import numpy as np
import pytest

from benchmarks.evidence import peers
from benchmarks.evidence.methods import method
from benchmarks.evidence.peer_costs import PASSES, costs
from benchmarks.evidence.peer_tables import quality
from benchmarks.transformer import Transformer

TINY = Transformer(layers=3, width=16, hidden=64, vocabulary=32)
TOKENS = (2, 16)


@pytest.fixture(scope="module")
def rows():
    adam = peers.contestants()["Adam, gradients"]
    contestants = {"MeZO, rank 1": method("mezo", 3, rank=1), "Adam, gradients": adam}
    found = costs(TINY, TOKENS, contestants, loops=lambda model, tokens: {}, turns=1)
    return {row["method"]: row for row in found}


def test_each_contestant_has_a_row(rows):
    gradients = ["Adam, gradients", "LoRA, gradients"]
    frugal = [f"{name}, checkpointing" for name in gradients]
    assert sorted(rows) == sorted([PASSES, "MeZO, rank 1", *gradients, *frugal])
    assert rows[PASSES]["times the passes"] == 1
    assert all(row["seconds"] > 0 for row in rows.values())


@pytest.mark.parametrize("name", ["Adam, gradients", "LoRA, gradients"])
def test_checkpoints_save_memory(rows, name):
    plain, frugal = rows[name], rows[f"{name}, checkpointing"]
    assert frugal["temporary / parameters"] < plain["temporary / parameters"]
    assert frugal["state / parameters"] == plain["state / parameters"]


def test_state_is_counted_in_units_of_the_parameters(rows):
    assert rows["Adam, gradients"]["state / parameters"] == pytest.approx(2, abs=0.01)
    assert rows["MeZO, rank 1"]["state / parameters"] < 0.01
    per_layer = 4 * 16 + 10 * 16  # inputs and outputs of two square and two wide matrices
    adapters = 3 * 8 * per_layer / rows[PASSES]["parameters"]
    assert rows["LoRA, gradients"]["state / parameters"] == pytest.approx(3 * adapters, abs=0.01)


def test_temporary_memory_of_a_gradient_holds_the_gradient(rows):
    assert rows["Adam, gradients, checkpointing"]["temporary / parameters"] > 1


@pytest.mark.parametrize("scanned", [True, False])
def test_checkpoints_change_no_gradient(scanned):
    model = TINY._replace(scanned=scanned)
    params, ids = model.params(), model.tokens(*TOKENS)
    plain = jax.jit(jax.grad(model.loss))(params, ids)
    frugal = jax.jit(jax.grad(model._replace(checkpointed=True).loss))(params, ids)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), plain, frugal)


def test_passes_count_to_a_share_of_what_gradients_reach():
    row = {"tuned": 1.0, "mean dev loss": [0.5, 0.6], "test accuracy": [0.7, 0.8]}
    row |= {"passes": [0, 10, 20]}
    lines = quality(
        [
            row | {"method": "Adam, gradients", "dev loss": [[1.0, 0.2, 0.0], [2.0, 1.2, 1.0]]},
            row | {"method": "slow", "dev loss": [[1.0, 0.5, 0.3], [2.0, 1.5, 1.4]]},
        ]
    )
    found = [line["passes to 70% of Adam's fall"] for line in lines]
    assert found == ["10 ± 0", "20 (1 of 2)"]


def test_without_torch_a_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    loops, facts = peers._official(_options())
    assert (loops(TINY, TOKENS), facts) == ({}, {})
    assert "torch is not installed" in capsys.readouterr().out


def test_without_a_checkout_a_line_says_where_one_is(capsys):
    pytest.importorskip("torch")
    loops, facts = peers._official(_options())
    told = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in told] == ["no --mezo", "no --loren"]
    assert "princeton-nlp/MeZO" in told[0]
    assert list(loops(TINY, TOKENS)) == ["six forward passes, torch"]
    assert facts["torch"]


def _options():
    return type("Options", (), {"mezo": None, "loren": None})


def test_a_picture_says_what_was_not_measured(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks.evidence.pictures import CURVES, draw_peers

    row = {"times the passes": 2.0, "temporary / parameters": None, "state / parameters": None}
    own = row | {"method": "LOREN, rank 1", "temporary / parameters": 0.5}
    costs = [row | {"method": "MeZO, official loop"}, own | {"state / parameters": 0.25}]
    run = {"passes": [0, 6], "dev loss": [1.0, 0.5]}
    draw_peers(costs, {key: [run, run] for key in CURVES}, tmp_path / "peers.svg")
    drawn = (tmp_path / "peers.svg").read_text("utf-8")
    texts = ("not measured", "0.75", "2")  # a comment goes before the outlines of a text
    assert [drawn.count(f"<!--  {text} -->") for text in texts] == [1, 1, 2]
