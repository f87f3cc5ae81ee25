"""`loren-jax predict`: answers to texts without labels."""

import contextlib
import csv
import io
import json

import numpy as np
import pytest
from tiny_task import train_arguments, write_language_model

from loren_jax.cli import main
from loren_jax.tasks import load_examples
from loren_jax.train import evaluate
from loren_jax.train.config import EvaluateConfig, PredictConfig
from loren_jax.train.prediction import predict

# One worker, which sets up once.
pytestmark = pytest.mark.xdist_group("predictions")

LENGTH = 12


@pytest.fixture(scope="module")
def place(place):
    """Runs of a head and of a prompt, and the texts without their labels."""
    write_language_model(place / "masked")
    data = place / "reviews.tsv"
    own = ("--max-length", str(LENGTH))
    assert main(train_arguments(place / "encoder", data, place / "head", *own)) == 0
    prompt = (
        "--prompt",
        "--template",
        "{sentence} it was {answer} .",
        "--words",
        "terrible",
        "all",
    )
    arguments = train_arguments(place / "masked", data, place / "prompt", *prompt, *own)
    at = arguments.index("--pooling")
    assert main(arguments[:at] + arguments[at + 2 :]) == 0
    examples = load_examples(data)
    rows = [{"id": n, "sentence": text} for n, (text,) in enumerate(examples.texts)]
    with (place / "new.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "sentence"])
        writer.writeheader()
        writer.writerows(rows)
    (place / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@pytest.mark.parametrize("run", ["head", "prompt"])
def test_the_answers_are_those_that_evaluate_scores(place, run):
    data = place / "reviews.tsv"
    found = predict(PredictConfig(model=str(place / run), data=str(place / "new.csv")))
    examples = load_examples(data, label_names=found.label_names)
    right = np.mean(found.probabilities.argmax(1) == examples.labels)
    scores = evaluate(EvaluateConfig(model=str(place / run), data=str(data))).scores
    assert right == pytest.approx(scores["accuracy"], abs=1e-9)
    picked = found.probabilities[np.arange(len(examples)), examples.labels]
    assert -np.mean(np.log(picked)) == pytest.approx(scores["loss"], abs=1e-5)
    np.testing.assert_allclose(found.probabilities.sum(1), 1.0, atol=1e-6)


@pytest.mark.parametrize("data", ["new.csv", "new.jsonl"])
@pytest.mark.parametrize("output", ["answers.csv", "answers.jsonl", None])
def test_tables_of_both_kinds_go_in_and_come_out(place, tmp_path, data, output, capsys):
    command = ["predict", str(place / "head"), "--data", str(place / data)]
    if output is None:
        assert main(command) == 0
        text = capsys.readouterr().out
    else:
        assert main([*command, "--output", str(tmp_path / "deep" / output)]) == 0
        assert [path.name for path in (tmp_path / "deep").iterdir()] == [output]
        text = (tmp_path / "deep" / output).read_text()
    if output == "answers.jsonl":
        rows = [json.loads(line) for line in text.splitlines()]
    else:
        rows = list(csv.DictReader(io.StringIO(text)))
    expected = predict(PredictConfig(model=str(place / "head"), data=str(place / "new.csv")))
    assert [int(row["id"]) for row in rows] == list(range(len(expected.probabilities)))
    for row, values in zip(rows, expected.probabilities, strict=True):
        assert row["predicted"] == expected.label_names[values.argmax()]
        for name, value in zip(expected.label_names, values, strict=True):
            assert float(row[f"probability_{name}"]) == pytest.approx(float(value), abs=1e-6)


def test_texts_are_cut_where_the_run_cut_them(place, tmp_path):
    words = " ".join(["fine"] * LENGTH)
    (tmp_path / "long.csv").write_text(f"text\n{words}\n{words} awful awful awful\n")
    ask = lambda **own: (
        predict(
            PredictConfig(model=str(place / "head"), data=str(tmp_path / "long.csv"), **own)
        ).probabilities
    )
    short, long = ask()
    np.testing.assert_array_equal(short, long)
    short, long = ask(max_length=16)
    assert np.any(short != long)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "words\nfine\n", "a.csv: none of the usual text columns is among words"),
        ("a.jsonl", '{"text": "fine"}\n{"text": 3}\n', "line 2: column 'text' holds 3, not a text"),
        ("a.csv", "", "a.csv"),
        ("none.csv", None, "there is no file"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(place, tmp_path, capsys, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    assert main(["predict", str(place / "head"), "--data", str(tmp_path / name)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_an_output_of_no_known_kind_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match=r"ends in none of \.csv, \.jsonl"):
        predict(PredictConfig(model="nowhere", data="none.csv", output=tmp_path / "a.xlsx"))


def test_the_data_is_not_replaced_by_its_answers(place, capsys):
    data = place / "new.csv"
    before = data.read_bytes()
    command = ["predict", str(place / "head"), "--data", str(data), "--output"]
    assert main([*command, str(place / "." / "new.csv")]) == 2
    assert "is the data, which answers would replace" in capsys.readouterr().err
    assert data.read_bytes() == before


def test_the_version_and_the_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("loren-jax ")
    with contextlib.suppress(SystemExit):
        main([])
    assert "predict" in capsys.readouterr().out
