"""Labels under a model's numbering: the same class may have another number in the data."""

from collections.abc import Sequence

import numpy as np

from loren_jax.tasks import Examples


def relabel(examples: Examples, label_names: Sequence[str]) -> Examples:
    """The examples with their classes numbered as in `label_names`, of which all that occur are.

    Example:
        >>> examples = Examples((("a",), ("b",)), np.array([0, 1], np.int32), ("bad", "good"))
        >>> relabel(examples, ("good", "bad")).labels.tolist()
        [1, 0]
    """
    numbers = {name: number for number, name in enumerate(label_names)}
    for name, occurrences in examples.class_counts().items():
        if occurrences and name not in numbers:
            raise ValueError(
                f"the data has the label {name!r}, which the model has never seen; its labels are "
                f"{', '.join(label_names)}"
            )
    table = np.array([numbers.get(name, -1) for name in examples.label_names], np.int32)
    return Examples(examples.texts, table[examples.labels], tuple(label_names))
