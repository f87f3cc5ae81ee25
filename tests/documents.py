"""README and the pages of docs: their blocks of code, and where their links go."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MADE = ("reference", "methods", "jupyter_execute")
"""Folders that the site's build writes."""


class Block(NamedTuple):
    """Some lines between fences."""

    page: str
    language: str
    text: str


def pages():
    """README and every page of docs that is in a commit, by name."""
    found = [p for p in (ROOT / "docs").rglob("*.md") if p.relative_to(ROOT).parts[1] not in MADE]
    return {str(path.relative_to(ROOT)): path for path in [ROOT / "README.md", *sorted(found)]}


def blocks(page):
    """All fenced blocks of a page, in order."""
    text = pages()[page].read_text(encoding="utf-8")
    found = re.findall(r"^```([^\n`]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(page, language.strip(), body) for language, body in found]


def python_blocks():
    """The blocks in Python of all pages."""
    return [block for page in pages() for block in blocks(page) if block.language == "python"]


def links(page):
    """What a page links to within the repository, without the part behind #."""
    text = re.sub(r"^```.*?^```$", "", pages()[page].read_text("utf-8"), flags=re.M | re.S)
    found = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text)
    return [link for link in found if not link.startswith(("https:", "http:"))]
