"""A task that contradicts itself is refused where it is written down."""

import dataclasses

import pytest

from loren_jax.tasks.glue import SST2
from loren_jax.tasks.prompts import Prompt


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_names": ("a", "b", "c")}, "sst2: 2 answers for 3 classes"),
        ({"metrics": ("rouge",)}, r"sst2: unknown metrics \['rouge'\]"),
        ({"inputs": ("{sentence}", "{more}")}, "different fields"),
        ({"prompt": Prompt("{text} {answer}", ("a", "b"))}, "different fields"),
    ],
)
def test_contradictions(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SST2, **change)
