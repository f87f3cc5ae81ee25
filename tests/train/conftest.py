"""One small run for all tests of runs."""

import pytest

from loren_jax.train import LorenOptions, TrainConfig


@pytest.fixture(scope="module")
def tiny(place):
    """With a dev split that selects, so that what is kept must survive too."""
    return TrainConfig(
        optimizer=LorenOptions(learning_rate=0.05, num_directions=4, rank=1),
        model=str(place / "encoder"),
        data="sst2",
        data_dir=place / "tasks",
        pooling="mean",
        output=place / "run",
        batch_size=8,
        max_length=16,
        train_examples=40,
        dev_examples=16,
        held_out_examples=20,
        trainable=("classifier/*", "layers/up/kernel"),
        eval_batch_size=8,
    )
