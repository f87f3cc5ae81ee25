"""One place and one small run for all tests of runs, whose programs are compiled once."""

import os

import jax
import pytest

from loren_jax.train import LorenOptions, TrainConfig


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory):
    """Programs are compiled once for all runs of the same kind, of which there are many."""
    own = tmp_path_factory.getbasetemp()
    directory = (own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own) / "compiled"
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    yield directory
    jax.config.update("jax_compilation_cache_dir", None)


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
