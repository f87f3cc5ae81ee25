"""The data's numbers become the model's."""

import numpy as np
import pytest

from loren_jax.objectives.labels import relabel
from loren_jax.tasks import Examples

EXAMPLES = Examples((("a",), ("b",), ("c",)), np.array([0, 2, 2], np.int32), ("x", "y", "z"))


def test_classes_are_matched_by_name():
    moved = relabel(EXAMPLES, ("z", "x"))
    assert moved.labels.tolist() == [1, 0, 0]
    assert moved.label_names == ("z", "x")
    assert moved.texts == EXAMPLES.texts


def test_a_class_that_the_model_lacks():
    with pytest.raises(ValueError, match=r"label 'z', which the model has never seen; .* x, y"):
        relabel(EXAMPLES, ("x", "y"))
