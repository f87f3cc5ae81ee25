"""The classification objective: how long an input may be, its batches and its loss."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from loren_jax.models import bind, load_classifier
from loren_jax.objectives import Classification
from loren_jax.objectives.classification import length_limit


@pytest.mark.parametrize(
    ("asked", "positions", "expected"),
    [(None, 512, 128), (None, 16, 16), (None, None, 128), (20, 20, 20), (999, None, 999)],
)
def test_the_default_length_is_capped_silently(asked, positions, expected):
    assert length_limit(asked, 128, positions) == expected


def test_what_was_asked_for_is_not():
    message = "max_length is 1024, but the model has 512 positions; give at most 512"
    with pytest.raises(ValueError, match=message):
        length_limit(1024, 128, 512)


def test_a_batch_depends_on_seed_and_step_alone(config):
    other = dataclasses.replace(config, seed=1)
    objectives = [Classification(given) for given in (config, config, other)]
    first, again, of_other_seed = ([o.batch(step) for step in (0, 3)] for o in objectives)
    same = lambda one, two: all(map(np.array_equal, one, two))
    assert all(map(same, first, again))
    different = [*itertools.pairwise(first), *zip(first, of_other_seed, strict=True)]
    assert not any(same(one, two) for one, two in different)
    assert objectives[0].batches == 5
    assert len(objectives[0].full_batch.labels) == 40


def test_micro_batches_have_the_loss_of_the_batch(config):
    whole, parts = (
        Classification(config),
        Classification(dataclasses.replace(config, micro_batch_size=3)),
    )
    losses = [jax.jit(o.loss)(o.params, o.batch(0), *o.frozen) for o in (whole, parts)]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_what_a_report_is_told(config):
    objective = Classification(config)
    clean = "clean (train_examples 40, not 512; dev_examples 16, not 256; max_length 16, not 128)"
    told = objective.told
    assert (told["protocol"], told["metric"], told["held_out"]) == (clean, "accuracy", "dev")
    assert (told["train_examples"], told["held_out_examples"]) == (40, 16)
    assert objective.inputs.keys() == {"training data", "held-out data", "test data"}
    assert objective.facts["label_names"] == ["negative", "positive"]
    scores = objective.test(objective.params)
    names = {"loss", "accuracy", "examples", "by_class"}
    assert scores.keys() == {*names, "majority_accuracy"}
    assert objective.evaluate(objective.params).keys() == names
    classes = scores["by_class"]["classes"]
    assert [one["name"] for one in classes] == ["negative", "positive"]
    assert sum(one["support"] for one in classes) == scores["examples"]


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
