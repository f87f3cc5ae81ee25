"""What an answer is worth: the rewards that come with the library, and one's own from a file.

A reward is `reward(prompt, answer, example) -> float`, higher for what is better. `example` is the
row of the data that the prompt is of, as a mapping from column to value.
"""

import importlib.util
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from loren_jax.tasks import countdown as puzzles
from loren_jax.tasks.text_metrics import exact_match, token_f1

Example: TypeAlias = Mapping[str, Any]
Reward: TypeAlias = Callable[[str, str, Example], float]

WANTED = ("answer", "completion", "output", "response", "solution", "target")
"""Columns that hold what was wanted, the first of them that is there."""

_NUMBER = re.compile(r"(?<![\d.])-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")


def exact(prompt: str, answer: str, example: Example) -> float:
    """1 if the answer has the words of the wanted one in their order, else 0.

    >>> exact("Capital of France?", "paris.", {"answer": "Paris"})
    1.0
    """
    return exact_match(answer, wanted_answer(example))


def f1(prompt: str, answer: str, example: Example) -> float:
    """The harmonic mean of the shares of words that answer and wanted answer have in common.

    >>> f1("", "the black cat", {"answer": "the cat"})
    0.8
    """
    return token_f1(answer, wanted_answer(example))


def numeric(prompt: str, answer: str, example: Example) -> float:
    """1 if the last number of the answer is the last one of the wanted answer, else 0.

    >>> numeric("", "So 3 * 4 = 12.0", {"answer": "#### 12"})
    1.0
    """
    said, right = (_NUMBER.findall(text) for text in (answer, wanted_answer(example)))
    if not right:
        raise ValueError(f"the wanted answer {wanted_answer(example)[:50]!r} has no number")
    return float(bool(said) and _number(said[-1]) == _number(right[-1]))


def countdown(prompt: str, answer: str, example: Example) -> float:
    """0.1 for an `<answer>` and 1 more for a right one; see `loren_jax.tasks.countdown`.

    >>> countdown("", "<answer>2 * 3 + 1</answer>", {"numbers": [1, 2, 3], "target": 7})
    1.1
    """
    missing = [name for name in ("numbers", "target") if name not in example]
    if missing:
        raise ValueError(
            f"the example has no column {missing[0]!r}: countdown needs numbers and target"
        )
    numbers = example["numbers"]
    numbers = json.loads(numbers) if isinstance(numbers, str) else numbers  # as a CSV file has them
    return puzzles.worth(answer, [*map(int, numbers)], int(example["target"]))


def matching(pattern: str) -> Reward:
    """A reward of 1 where a regular expression is found in the answer, else 0.

    Args:
      pattern: As Python's `re` has it.

    Returns:
      The reward.

    Raises:
      ValueError: The pattern is none.

    >>> matching("^(yes|no)$")("Is it?", "yes", {})
    1.0
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"regex:{pattern}: no regular expression: {error}") from None
    return lambda prompt, answer, example: float(compiled.search(answer) is not None)


def brevity(words: int) -> Reward:
    """A reward of 1 for an answer of so many words or fewer, and less for more; 0 for an empty one.

    Args:
      words: That are few enough.

    Returns:
      The reward, `words / (words of the answer)` for longer ones.

    Raises:
      ValueError: `words` is below 1.

    >>> reward = brevity(2)
    >>> reward("", "yes", {}), reward("", "it may well be", {}), reward("", " ", {})
    (1.0, 0.5, 0.0)
    """
    if words < 1:
        raise ValueError(f"length:{words}: it must be at least one word")

    def reward(prompt: str, answer: str, example: Example) -> float:
        number = len(answer.split())
        return min(1.0, words / number) if number else 0.0

    return reward


REWARDS: Mapping[str, Reward] = MappingProxyType(
    {"exact": exact, "f1": f1, "numeric": numeric, "countdown": countdown}
)
"""The rewards without an argument, by name."""

_MADE: Mapping[str, tuple[Callable[[str], Reward], str]] = MappingProxyType(
    {
        "regex": (matching, "a regular expression"),
        "length": (lambda text: brevity(_whole(text)), "a number of words"),
    }
)


def reward_named(name: str) -> Reward:
    """The reward of a name.

    Args:
      name: One of `exact`, `f1`, `numeric`, `countdown`; `regex:PATTERN`; `length:WORDS`; or
        `FILE.py:FUNCTION`, a function of one's own.

    Returns:
      The reward.

    Raises:
      ValueError: There is none of the name; the message says what there is.
      FileNotFoundError: The file does not exist.

    >>> reward_named("length:3")("", "one two", {})
    1.0
    """
    if name in REWARDS:
        return REWARDS[name]
    kind, colon, argument = name.partition(":")
    if kind in _MADE:
        make, what = _MADE[kind]
        if not argument:
            raise ValueError(f"reward {name!r} needs {what}: {kind}:...")
        return make(argument)
    if colon and ".py:" in name:
        file, _, function = name.rpartition(":")
        return _of_file(Path(file), function)
    raise ValueError(
        f"reward {name!r} is not known: it is one of {', '.join(REWARDS)}, regex:PATTERN, "
        "length:WORDS, or FILE.py:FUNCTION"
    )


def absolute(name: str) -> str:
    """The name of a reward as it was meant, also for who goes on from elsewhere.

    >>> absolute("exact"), absolute("regex:a.py:b")
    ('exact', 'regex:a.py:b')
    """
    file, _, function = name.rpartition(":")
    if not file.endswith(".py") or file.partition(":")[0] in _MADE:
        return name
    return f"{os.path.abspath(file)}:{function}"


def source_of(name: str) -> bytes:
    """What a reward is made of, to tell whether it has changed: its name, or its file and function.

    Raises:
      FileNotFoundError: The file does not exist.
    """
    file, _, function = absolute(name).rpartition(":")
    if absolute(name) == name and not os.path.isabs(file):
        return name.encode()
    if not os.path.isfile(file):
        raise FileNotFoundError(f"reward {name}: there is no file {file}")
    return Path(file).read_bytes() + function.encode()


def wanted_answer(example: Example) -> str:
    """The answer that was wanted, from the first of `WANTED` that the example has.

    Raises:
      ValueError: It has none of them.
    """
    for name in WANTED:
        if example.get(name) is not None:
            return str(example[name])
    raise ValueError(
        f"the example has the columns {', '.join(example) or 'none'}, and none that holds what was "
        f"wanted: call it one of {', '.join(WANTED)}"
    )


def _of_file(file: Path, function: str) -> Reward:
    if not file.is_file():
        raise FileNotFoundError(f"reward {file}:{function}: there is no file {file}")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"reward {file}:{function}: {file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, function, None)):
        raise ValueError(f"reward {file}:{function}: {file} has no function {function!r}")
    return getattr(module, function)


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _whole(text: str) -> int:
    if not text.strip().lstrip("-").isdigit():
        raise ValueError(f"length:{text}: it must be a number of words")
    return int(text)
