"""The data's numbers become the model's."""

import numpy as np
import pytest

from loren_jax.objectives.labels import in_heads_order, relabel
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


def test_classes_are_matched_in_any_case():
    assert relabel(EXAMPLES, ("Z", "X")).labels.tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match="label 'x', which"):
        relabel(EXAMPLES, ("X", "Y", "Z", "z"))  # where the case tells classes apart


def test_classes_that_nobody_named_are_the_datas_in_its_order():
    generic = ("LABEL_0", "LABEL_1", "LABEL_2")
    assert relabel(EXAMPLES, generic) == EXAMPLES
    with pytest.raises(ValueError, match="label 'x', which"):
        relabel(EXAMPLES, generic[:2])
    named = Examples(EXAMPLES.texts, EXAMPLES.labels, generic[::-1])
    assert relabel(named, generic).labels.tolist() == [2, 0, 0]


@pytest.mark.parametrize(
    ("names", "head", "ordered"),
    [
        (("negative", "positive"), ("POSITIVE", "NEGATIVE"), ("positive", "negative")),
        (("a", "b"), ("b", "a"), ("b", "a")),
        (("a", "b"), ("LABEL_0", "LABEL_1"), ("a", "b")),
        (("0", "1"), ("NEGATIVE", "POSITIVE"), ("0", "1")),
    ],
)
def test_head_that_knows_the_classes_keeps_its_order(names, head, ordered, capsys):
    assert in_heads_order(names, head) == ordered
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("head", [("yes", "no"), ("A", "a"), ("a", "c")])
def test_head_of_other_classes_is_told(head, capsys):
    assert in_heads_order(("a", "b"), head) == ("a", "b")
    assert f"knows the classes {', '.join(head)}, and the data has a, b" in capsys.readouterr().err
