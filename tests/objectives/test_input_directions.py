"""The directions that inputs vary along; runs that have them are in `tests/train`."""

import numpy as np
import pytest
from tiny_task import write_model, write_task

from loren_jax.models import bind, load_classifier
from loren_jax.objectives import Classification, ClassificationConfig


@pytest.fixture(scope="module")
def objective(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")

    def made(*trainable):
        return Classification(
            ClassificationConfig(
                model=str(place / "encoder"),
                data="sst2",
                data_dir=place / "tasks",
                pooling="mean",
                batch_size=8,
                train_examples=40,
                dev_examples=16,
                trainable=trainable,
                input_directions=2,
                eval_batch_size=16,
            )
        )

    write_model(place / "encoder")
    write_task(place / "tasks", train=80)
    return made


def test_they_are_the_principal_directions_of_the_training_inputs(objective):
    """Of the head: those of the mean-pooled features, computed by the model itself."""
    asked = objective("classifier/kernel", "layers/up/kernel")
    found = asked.factors
    assert found.keys() == {"classifier/kernel", "layers/up/kernel"}
    assert found["layers/up/kernel"].shape == (2, 8, 2)
    ids, mask, types, _ = asked.full_batch
    model = load_classifier(asked.told["model"], num_labels=2, pooling="mean", key=0)
    hidden = bind(model.config, asked.params).encode(ids, mask, types)
    real = np.asarray(mask)[..., None].astype(np.float64)
    features = (np.asarray(hidden, np.float64) * real).sum(1) / real.sum(1)
    expected = np.linalg.svd(features - features.mean(0), full_matrices=False)[2][:2].T
    vectors = found["classifier/kernel"]
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-4)
    assert asked.passes_before == 5  # forty examples are five batches


def test_what_has_no_inputs(objective):
    with pytest.raises(ValueError, match="input_directions: no trained leaf is a matrix"):
        objective("classifier/bias").factors  # noqa: B018
