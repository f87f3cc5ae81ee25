"""Batches of a few shapes, of which each is a function of the seed and the step."""

import numpy as np
import pytest

from loren_jax.tasks.buckets import Buckets, Shape, bucket_shapes
from loren_jax.tasks.spans import Spanned


def row(length, span, first=100):
    ids = np.arange(first, first + length, dtype=np.int32)
    return Spanned(ids, np.arange(length) >= length - span)


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(0)
    return [row(int(n), int(draw.integers(1, 7))) for n in draw.integers(8, 60, 70)]


def test_shapes_hold_all_rows_and_are_no_more_than_asked(rows):
    shapes = bucket_shapes(rows, 4, 512)
    assert 2 <= len(shapes) <= 4
    assert shapes[-1].length >= max(len(r.input_ids) for r in rows)
    assert bucket_shapes(rows, 1, 59) == (Shape(59, 8),)  # never beyond the positions


def test_a_batch_has_the_smallest_shape_that_holds_it():
    found = Buckets([row(6, 2), row(7, 3), row(20, 9)], (Shape(8, 8), Shape(24, 16)))
    small, large = found.take(np.array([0, 1])), found.take(np.array([1, 2]))
    assert (small.input_ids.shape, small.weights.shape) == ((2, 8), (2, 8))
    assert (large.input_ids.shape, large.weights.shape) == ((2, 24), (2, 16))
    assert small.attention_mask.sum(axis=1).tolist() == [6, 7]


def test_the_places_are_those_before_the_tokens_that_are_predicted():
    tokens = Buckets([row(6, 2)], (Shape(8, 8),)).take(np.array([0]))
    assert tokens.positions[0, :2].tolist() == [3, 4]
    assert tokens.targets[0, :2].tolist() == [104, 105]
    assert tokens.weights[0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]
    whole = Buckets([row(6, 6)], (Shape(8, 8),)).take(np.array([0]))
    assert whole.weights.sum() == 5  # nothing stands before the first


def test_every_row_occurs_once_in_an_epoch(rows):
    """Ten batches of seven are one window and one epoch."""
    found = Buckets(rows, bucket_shapes(rows, 3, 512))
    for epoch in range(3):
        steps = range(10 * epoch, 10 * epoch + 10)
        seen = np.concatenate([found.indices(5, step, 7) for step in steps])
        assert sorted(seen.tolist()) == list(range(70))


def test_the_batch_of_a_step_depends_on_nothing_before_it(rows):
    shapes = bucket_shapes(rows, 3, 512)
    one, other = Buckets(rows, shapes), Buckets(rows, shapes)
    in_order = [one.indices(5, step, 8) for step in range(20)]
    for step in (19, 3, 11):
        np.testing.assert_array_equal(other.indices(5, step, 8), in_order[step])
    assert any((one.indices(6, step, 8) != in_order[step]).any() for step in range(3))


def test_sorted_batches_pad_less_than_drawn_ones(rows):
    """Of no more shapes than there are programs."""
    found = Buckets(rows, bucket_shapes(rows, 4, 512))
    batches = [found.batch(0, step, 7) for step in range(1, 21)]
    padded = sum(batch.input_ids.size for batch in batches)
    assert padded < 0.85 * len(batches) * 7 * found.shapes[-1].length
    assert len({batch.input_ids.shape for batch in batches}) <= 4


def test_the_first_batch_has_the_largest_shape(rows):
    found = Buckets(rows, bucket_shapes(rows, 4, 512))
    assert found.batch(0, 0, 2).input_ids.shape == (2, found.shapes[-1].length)


def test_a_walk_meets_each_row_once_and_fills_up_with_weight_zero(rows):
    found = Buckets(rows, bucket_shapes(rows, 3, 512))
    seen = []
    batches = 0
    for tokens, numbers, weights in found.walk(16):
        assert len(tokens.input_ids) == len(numbers) == len(weights) == 16
        seen += numbers[weights > 0].tolist()
        batches += 1
    assert sorted(seen) == list(range(70))
    assert batches == found.passes(16)
    assert found.counted == sum(int(r.counted.sum()) for r in rows)


def test_other_rows_are_seen_in_the_flat_form(rows):
    flat = Buckets(rows, (Shape(64, 8),)).flat()
    other = Buckets([row(8, 1, first=101), *rows[1:]], (Shape(64, 8),)).flat()
    assert flat["input_ids"].sum() != other["input_ids"].sum()
    assert flat["lengths"].sum() == len(flat["counted"])
