"""What a language model answered before and after a run, for people."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

ANSWERS = "answers"
"""Among scores, what a model said: `asked`, `wanted` and `said`, maybe its `worth`, a list each."""

SHOWN, KEPT = 10, 100
"""Of so many people see the words, and of so many more there are the words in a file."""

_WIDTH = 100


def answers_text(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[str]:
    r"""Lines that show each question, what was wanted, and what was said.

    Args:
      before: Answers before the first step; None where they are not known.
      after: Those of what is kept.

    Returns:
      The lines.

    >>> after = {"asked": ["2 + 2?"], "wanted": ["4"], "said": ["four"]}
    >>> print("\n".join(answers_text({**after, "said": ["Hello!"]}, after)))
    2 + 2?
      wanted  4
      before  Hello!
      after   four
    """
    lines = []
    for number, asked in enumerate(after["asked"][:SHOWN]):
        rows = {"wanted": after["wanted"][number]}
        if before is not None:
            rows["before"] = before["said"][number]
        rows["after"] = after["said"][number]
        lines.append(_short(asked))
        lines += [f"  {name:<6}  {_short(text) or '(nothing)'}" for name, text in rows.items()]
    return lines


def answer_rows(
    before: Mapping[str, Any] | None, after: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """The same for programs: a row for each question.

    Args:
      before: Answers before the first step; None where they are not known.
      after: Those of what is kept.

    Yields:
      `asked`, `wanted`, and `before` and `after`; where answers were judged, with what each is
      worth as `reward_before` and `reward_after`.

    >>> after = {"asked": ["2 + 2?"], "wanted": ["4"], "said": ["four"], "worth": [0.0]}
    >>> list(answer_rows(None, after))
    [{'asked': '2 + 2?', 'wanted': '4', 'after': 'four', 'reward_after': 0.0}]
    """
    parts = {"before": before, "after": after}
    for number, asked in enumerate(after["asked"]):
        row = {"asked": asked, "wanted": after["wanted"][number]}
        for when, part in parts.items():
            for name, called in (("said", when), ("worth", f"reward_{when}")):
                if part is not None and number < len(part.get(name, ())):
                    row[called] = part[name][number]
        yield row


def first_answers(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Those of them that people see."""
    return {name: values[:SHOWN] for name, values in answers.items()}


def _short(text: str) -> str:
    return textwrap.shorten(text, _WIDTH, placeholder=" ...")
