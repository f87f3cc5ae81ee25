"""What a language model answered before and after a run, for people."""

import textwrap
from collections.abc import Mapping
from typing import Any

ANSWERS = "answers"
"""Among scores, what a model said: `asked`, `wanted` and `said`, a list each."""

SHOWN = 10
_WIDTH = 100


def answers_text(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[str]:
    r"""Lines that show each question, what was wanted, and what was said.

    Args:
        before: Answers before the first step; None where they are not known.
        after: Those of what is kept.

    Returns:
        The lines.

    Example:
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


def _short(text: str) -> str:
    return textwrap.shorten(text, _WIDTH, placeholder=" ...")
