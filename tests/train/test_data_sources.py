"""Runs on data of every kind: rows in memory, folders, parquet."""

import dataclasses

import pandas
import pytest

from loren_jax.tasks import Rows
from loren_jax.train import EvaluateConfig, PredictConfig, evaluate, predict, resume, train

# One worker, which sets up once.
pytestmark = pytest.mark.xdist_group("data sources")


@pytest.fixture(scope="module")
def frame(place):
    return pandas.read_csv(place / "reviews.tsv", sep="\t")


@pytest.fixture(scope="module")
def config(tiny, place, frame):
    return dataclasses.replace(
        tiny, data=Rows.of(frame), data_dir=None, output=place / "memory", steps=2, eval_every=2
    )


@pytest.fixture(scope="module")
def run(config):
    return train(config)


def test_a_run_is_made_from_a_data_frame(run, config):
    assert run.summary.facts["data"] == "DataFrame of 60 rows"
    assert run.summary.facts["train_examples"] == 40
    default = dataclasses.replace(config, output=None).directory.name
    assert "DataFrame_of_60_rows" in default


def test_it_goes_on_with_the_same_frame_alone(run, frame):
    with pytest.raises(ValueError, match=r"began with a DataFrame of 60 rows in memory: give it"):
        resume(run.directory, steps=3)
    changed = frame.assign(sentence=frame["sentence"].str.upper())
    with pytest.raises(ValueError, match="training data"):
        resume(run.directory, steps=3, data=changed.iloc[::-1])
    assert resume(run.directory, steps=3, data=frame).summary.steps == 3


def test_it_is_evaluated_and_asked_on_files_of_columns(run, frame, place):
    folder = place / "folder"
    folder.mkdir()
    frame.to_parquet(folder / "train.parquet")
    frame.iloc[:10].to_parquet(folder / "test.parquet")
    model = str(run.directory)
    assert evaluate(EvaluateConfig(model=model, data=str(folder))).scores["examples"] == 10
    found = predict(PredictConfig(model=model, data=str(folder / "train.parquet")))
    assert len(found.rows()) == 60
    with pytest.raises(ValueError, match=r"folder has test, train; give one of its files"):
        predict(PredictConfig(model=model, data=str(folder)))
    again = predict(PredictConfig(model=model, data=Rows.of(frame)))
    assert again.probabilities.tolist() == found.probabilities.tolist()
