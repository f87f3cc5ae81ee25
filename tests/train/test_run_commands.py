"""The commands on a run, as a shell gives them: export, replay, info, verify, resume."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from huggingface_hub import ModelCard
from models.peft_oracle import applied
from tiny_task import train_arguments, write_model

from loren_jax.checkpoints import open_checkpoint
from loren_jax.cli import main

# One worker, which sets up once.
pytestmark = pytest.mark.xdist_group("run commands")

COMMANDS = ("info", "verify", "export")


def trained(place, output, *more):
    arguments = train_arguments(place / "encoder", place / "reviews.tsv", output)
    assert main([*arguments, "--checkpoint-every", "2", *more]) == 0
    return output


@pytest.fixture(scope="module")
def run(place):
    return trained(place, place / "run")


@pytest.fixture(scope="module")
def adapted(place):
    """With adapters, which are merged into the model that is kept."""
    return trained(place, place / "adapted", "--lora-rank", "2", "--dtype", "bfloat16")


def test_a_run_with_adapters_leaves_them_as_peft_has_them(place, tmp_path, capsys):
    more = ("--lora-rank", "2", "--lora-alpha", "3", "--lora-targets", "query", "down")
    run = trained(place, tmp_path / "run", *more)
    assert "(model/, adapter/, metrics.jsonl" in capsys.readouterr().out
    base, table = open_checkpoint(place / "encoder"), open_checkpoint(run / "model")
    tensors = {f"bert.{name}": base.read(name) for name in base.names()}
    found = applied(run / "adapter", tensors)
    for name in table.names():
        np.testing.assert_allclose(found[name], table.read(name), atol=1e-6, err_msg=name)
    config = json.loads((run / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(place / "encoder")
    assert main(["predict", str(run / "adapter"), "--data", str(place / "reviews.tsv")]) == 2
    assert "is a PEFT adapter of" in capsys.readouterr().err


@pytest.mark.slow
def test_adapters_that_peft_cannot_hold_are_told_and_replaced_by_none(place, tmp_path, capsys):
    more = ("--lora-rank", "2", "--lora-targets", "query")
    run = trained(place, tmp_path / "run", *more)
    assert (run / "adapter").is_dir()
    trained(place, run, *more, "--trainable", "layers/attention/query/bias", "--overwrite")
    assert "adapter is not written: PEFT has no place for bert.enc" in capsys.readouterr().err
    assert not (run / "adapter").exists()
    assert (run / "model" / "model.safetensors").is_file()


def bits(directory):
    tensors = open_checkpoint(directory)
    return {name: np.asarray(tensors.read(name)).tobytes() for name in tensors.names()}


def test_the_last_step_is_the_model_of_the_run(run, adapted, tmp_path, capsys):
    for number, directory in enumerate((run, adapted)):
        output = tmp_path / str(number)
        assert main(["export", str(directory), "--output", str(output)]) == 0
        assert bits(output) == bits(directory / "model")
        assert (output / "tokenizer.json").exists()
    assert "the model after 6 steps" in capsys.readouterr().out


def test_another_machine_has_the_journal_and_the_base_alone(run, place, tmp_path):
    """Any step, with the base model elsewhere and no data."""
    base = shutil.copytree(place / "encoder", tmp_path / "base")
    file = shutil.copy(run / "run.journal", tmp_path / "copied.journal")
    assert main(["export", str(run), "--step", "3"]) == 0
    arguments = ["--base", str(base), "--output", str(tmp_path / "again"), "--step", "3"]
    assert main(["replay", str(file), *arguments]) == 0
    assert bits(tmp_path / "again") == bits(run / "step-3") != bits(run / "model")


def card(directory):
    """The front matter of a model's card, and its text."""
    text = (directory / "README.md").read_text(encoding="utf-8")
    return ModelCard(text).data.to_dict(), text


def test_every_model_has_a_card_that_says_what_is_known_of_it(run, place, tmp_path):
    """Scores are those of the very model; of a journal alone there are neither they nor counts."""
    arguments = ["--base", str(place / "encoder"), "--output", str(tmp_path / "again")]
    file = shutil.copy(run / "run.journal", tmp_path / "copied.journal")
    assert main(["export", str(run), "--output", str(tmp_path / "last")]) == 0
    assert main(["export", str(run), "--step", "2", "--output", str(tmp_path / "two")]) == 0
    assert main(["replay", str(file), *arguments]) == 0
    kept, last, two, again = (
        card(directory)[1]
        for directory in (run / "model", tmp_path / "last", tmp_path / "two", tmp_path / "again")
    )
    assert kept == last
    assert "fine-tuned with forward passes only: 6 steps of the method `loren`" in kept
    assert "| negative | 19 |" in kept
    assert "95 % interval" in kept
    assert "forward passes: 24 of a batch each" in kept
    assert "2 steps of" in two
    assert "| negative | 19 |" in two
    assert "forward passes: 24" not in two
    assert "6 steps of" in again
    for text in (two, again):
        assert "## Scores" not in text
    assert "| negative |\n" in again
    for text in (kept, two, again):
        assert str(place) not in text  # nor any other folder of this machine
        assert "reviews.tsv" in text


@pytest.mark.parametrize("theirs", [False, True])
def test_the_card_says_how_to_load(run, tmp_path, monkeypatch, capsys, theirs):
    if theirs:
        pytest.importorskip("torch")
    monkeypatch.chdir(shutil.copytree(run / "model", tmp_path / "model"))
    data, text = card(run / "model")
    assert data["library_name"] == "transformers"
    assert data["pipeline_tag"] == "text-classification"
    assert "base_model" not in data  # it is a folder here
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (block,) = [b for b in blocks if ("from transformers" in b) == theirs]
    exec(compile(block, "README.md", "exec"), {})
    assert "negative" in capsys.readouterr().out


def test_info(run, capsys):
    assert main(["info", str(run)]) == 0
    told = capsys.readouterr().out
    for words in ("6 of 6", "4 directions x 1 points", "loren (learning_rate=0.05", "encoder"):
        assert words in told
    assert main(["info", str(run / "run.journal")]) == 0
    assert capsys.readouterr().out == told


def test_verify(run, adapted, capsys):
    for directory in (run, adapted):
        assert main(["verify", str(directory)]) == 0
        assert "final model  that of step 6, to the bit" in capsys.readouterr().out


@pytest.mark.parametrize(("flipped", "said"), [(0x00000001, r"\d"), (0x7FC00000, "nan")])
def test_one_number_that_differs_is_told(run, tmp_path, capsys, flipped, said):
    copied = shutil.copytree(run, tmp_path / "run")
    weights = (copied / "model" / "model.safetensors").read_bytes()
    last = int.from_bytes(weights[-4:], "little")
    other = flipped if said == "nan" else last ^ flipped
    (copied / "model" / "model.safetensors").write_bytes(weights[:-4] + other.to_bytes(4, "little"))
    assert main(["verify", str(copied)]) == 1
    told = capsys.readouterr().out
    assert re.search(f"differs from step 6 by up to {said}", told), told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "{run}", "--step", "7"], "has 6 whole steps, not 7"),
        (["export", "{run}", "--output", "{run}"], "output: {run} exists"),
        (["replay", "{run}/run.journal", "--base", "{other}", "--output", "x"], "the base model"),
        (["info", "{run}/config.json"], "is no journal"),
        *(([c, "{place}/no"], "is no journal, nor the directory of a run") for c in COMMANDS),
        (["train", "--resume", "{run}"], "is complete"),
        (
            ["train", "--resume", "{run}", "--learning-rate", "0.3"],
            "--learning-rate is given, but a run goes on with the options that it began with",
        ),
        (["train", "--resume", "{place}"], "holds no run"),
    ],
)
def test_errors_are_one_line(run, place, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    names = {"run": run, "place": place, "other": place / "other"}
    if not names["other"].exists():
        write_model(names["other"], layer_norm_eps=1e-3)
        weights = names["other"] / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    assert main([argument.format(**names) for argument in arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message.format(**names) in line
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_room_lets_it_go_on(run, place, tmp_path, monkeypatch, capsys):
    write, calls = os.pwrite, []

    def full(file, data, offset):
        calls.append(offset)
        if len(calls) == 4:
            write(file, data[:5], offset)
            raise OSError(28, "No space left on device")
        return write(file, data, offset)

    arguments = train_arguments(place / "encoder", place / "reviews.tsv", tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert main([*arguments, "--checkpoint-every", "2"]) == 2
    error = capsys.readouterr().err
    assert "cannot take step 3 (No space left on device); make room and resume" in error
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert bits(tmp_path / "run" / "model") == bits(run / "model")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["steps"], summary["interrupted"]) == (6, False)
