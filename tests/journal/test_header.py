"""What a journal says of its run, and what it refuses to be used with."""

import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax import journal

PARAMS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": {"c": jnp.ones(2, jnp.bfloat16)}}


def test_the_digest_depends_on_every_name_shape_dtype_and_bit():
    base = journal.describe(PARAMS)["digest"]
    others = [
        {**PARAMS, "a": PARAMS["a"] + np.float32(1e-6) * (np.arange(3) == 2)},
        {**PARAMS, "a": PARAMS["a"].reshape(3, 2)},
        {**PARAMS, "a": PARAMS["a"].view(np.int32)},
        {"A": PARAMS["a"], "b": PARAMS["b"]},
    ]
    digests = {journal.describe(other)["digest"] for other in others}
    assert len(digests) == 4
    assert base not in digests
    again = {"b": PARAMS["b"], "a": jnp.asarray(PARAMS["a"])}
    assert journal.describe(again)["digest"] == base


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"a": PARAMS["a"]}, "leaf 'b/c' is absent"),
        ({**PARAMS, "d": np.ones(1)}, "leaf 'd' is float64"),
        ({**PARAMS, "a": PARAMS["a"].T}, r"float32\[3, 2\], but the journal's run had float32\[2"),
        ({**PARAMS, "a": PARAMS["a"] + 1}, "the numbers are not"),
    ],
)
def test_another_model_is_refused_and_the_difference_named(other, message):
    with pytest.raises(journal.JournalError, match=message):
        journal.require_same(journal.describe(other), journal.describe(PARAMS), "params")


def test_the_same_model_is_accepted():
    journal.require_same(journal.describe(PARAMS), journal.describe(PARAMS), "params")


def test_what_decides_how_floats_are_rounded_is_compared():
    header = journal.header(PARAMS, (6, 1))
    assert journal.differences(header) == []
    header["written_with"]["jax"] = "0.0.1"
    (difference,) = journal.differences(header)
    assert difference.startswith("jax 0.0.1 then, ")


def test_a_header_says_what_its_numbers_were_drawn_by():
    header = journal.header(PARAMS, (6, 1))
    assert (header["generator"], header["partitionable"]) == ("threefry2x32", True)
    # As older versions wrote it, which had the same numbers by default.
    del header["partitionable"]
    assert journal.differences(header) == []


@pytest.mark.parametrize(
    ("name", "then", "said"),
    [
        ("partitionable", False, "partitionable False then, True now"),
        ("generator", "threefry4x32", "generator threefry4x32 then, threefry2x32 now"),
    ],
)
def test_a_run_whose_numbers_were_drawn_otherwise_is_named_and_not_replayed(
    name, then, said, tmp_path
):
    method = journal.Method("mezo", {"learning_rate": 0.1})
    start = {"w": jnp.ones(3)}
    header = journal.header(start, (1, 2), method=method) | {name: then}
    assert journal.differences(header) == [said]
    with journal.create(tmp_path / "j", header) as log:
        log.append(0, np.ones((1, 2), np.float32))
    for again in (journal.replay, journal.Session.resume):
        with pytest.raises(journal.JournalError, match=f"drawn otherwise than here .{said}"):
            again(start, tmp_path / "j")
