"""The directions that inputs vary along; runs that have them are in `tests/train`."""

import dataclasses

import numpy as np
import pytest

from loren_jax.models import bind, load_classifier
from loren_jax.objectives import Classification


def along_inputs(config, *trainable):
    return Classification(dataclasses.replace(config, trainable=trainable, input_directions=2))


def test_they_are_the_principal_directions_of_the_training_inputs(config):
    """Of the head: those of the mean-pooled features, computed by the model itself."""
    asked = along_inputs(config, "classifier/kernel", "layers/up/kernel")
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


def test_what_has_no_inputs(config):
    with pytest.raises(ValueError, match="input_directions: no trained leaf is a matrix"):
        along_inputs(config, "classifier/bias").factors  # noqa: B018
