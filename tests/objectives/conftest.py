"""A classification that takes no time."""

import pytest
from tiny_task import write_model, write_task

from loren_jax.objectives import ClassificationConfig


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    return ClassificationConfig(
        model=str(write_model(place / "encoder")),
        data="sst2",
        data_dir=write_task(place / "tasks", train=80),
        pooling="mean",
        batch_size=8,
        train_examples=40,
        dev_examples=16,
        eval_batch_size=16,
    )
