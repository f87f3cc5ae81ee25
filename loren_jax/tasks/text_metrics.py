"""How like a text is to the one that was wanted."""

import re
import string
from collections import Counter


def exact_match(said: str, wanted: str) -> float:
    """Whether two texts have the same words in the same order: 1 or 0.

    Case, space and punctuation do not count.

    >>> exact_match("The  cat.", "the cat"), exact_match("a cat", "the cat")
    (1.0, 0.0)
    """
    return float(_words(said) == _words(wanted))


def token_f1(said: str, wanted: str) -> float:
    """The harmonic mean of the shares of words that the two have in common, between 0 and 1.

    1 where neither has any word, 0 where one of them has none.

    >>> token_f1("the black cat", "the cat"), token_f1("", "the cat")
    (0.8, 0.0)
    """
    one, other = Counter(_words(said)), Counter(_words(wanted))
    if not one or not other:
        return float(one == other)
    common = (one & other).total()
    return 2 * common / (one.total() + other.total())


def _words(text: str) -> list[str]:
    return re.sub(f"[{re.escape(string.punctuation)}]", " ", text.casefold()).split()
