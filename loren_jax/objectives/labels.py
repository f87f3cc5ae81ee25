"""Labels under a model's numbering: the same class may have another number in the data."""

import re
import sys
from collections.abc import Sequence

import numpy as np

from loren_jax.tasks import Examples


def nameless(label_names: Sequence[str]) -> bool:
    """Whether these are the names that Hugging Face gives to classes without names.

    >>> nameless(["LABEL_0", "LABEL_1"]), nameless(["bad", "good"])
    (True, False)
    """
    return all(re.fullmatch(r"label_\d+", name, re.IGNORECASE) for name in label_names)


def in_heads_order(names: Sequence[str], head: Sequence[str]) -> tuple[str, ...]:
    """The data's classes in the order of a head that knows them, whatever their case.

    Where a head has other names than the data, the order is the data's, which is said on standard
    error: the head may then start with its classes exchanged.

    >>> in_heads_order(("negative", "positive"), ("POSITIVE", "NEGATIVE"))
    ('positive', 'negative')
    >>> in_heads_order(("negative", "positive"), ("LABEL_0", "LABEL_1"))
    ('negative', 'positive')
    """
    numbers = {name.casefold(): number for number, name in enumerate(head)}
    folded = [name.casefold() for name in names]
    if len(set(folded)) == len(names) == len(head) and numbers.keys() == set(folded):
        return tuple(sorted(names, key=lambda name: numbers[name.casefold()]))
    if not nameless(head) and not all(name.isdecimal() for name in names):
        print(
            f"the model's head knows the classes {', '.join(head)}, and the data has "
            f"{', '.join(names)}: training starts as if they were the same, in this order",
            file=sys.stderr,
        )
    return tuple(names)


def relabel(examples: Examples, label_names: Sequence[str]) -> Examples:
    """The examples with their classes numbered as in `label_names`, a model's, in any case.

    Where these are as many as the data's and have no names of their own, the order is the data's. A
    ValueError if a class occurs that the model does not have.

    >>> examples = Examples((("a",), ("b",)), np.array([0, 1], np.int32), ("bad", "good"))
    >>> relabel(examples, ("good", "bad")).labels.tolist()
    [1, 0]
    """
    spell = str.casefold if len({*map(str.casefold, label_names)}) == len(label_names) else str
    numbers = {spell(name): number for number, name in enumerate(label_names)}
    strange = not any(spell(name) in numbers for name in examples.label_names)
    if strange and nameless(label_names) and len(label_names) == len(examples.label_names):
        return examples
    for name, occurrences in examples.class_counts().items():
        if occurrences and spell(name) not in numbers:
            raise ValueError(
                f"the data has the label {name!r}, which the model has never seen; its labels are "
                f"{', '.join(label_names)}"
            )
    table = np.array([numbers.get(spell(name), -1) for name in examples.label_names], np.int32)
    return Examples(examples.texts, table[examples.labels], tuple(label_names))
