"""What a compiled program sends between devices, read off its text."""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

KINDS = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "ragged-all-to-all",
    "collective-broadcast",
    "collective-permute",
    "reduce-scatter",
)

_INSTRUCTION = re.compile(
    rf"= (?P<shape>.*?) (?P<kind>{'|'.join(sorted(KINDS, key=len, reverse=True))})(-start)?\("
)
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?(?P<name>[\w.\-]+) \(.*\{$")
_CALLED = re.compile(
    r"(?:to_apply|body|condition|calls|true_computation|false_computation)=%?([\w.\-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+)(?:e\d+m\d+\w*)?\[([\d,]*)\]")
_NAME = re.compile(r'op_name="([^"]*)"')


class Collective(NamedTuple):
    """One instruction that sends something.

    Attributes:
      kind: of the instruction, for example `all-reduce`.
      bytes: size of its result on one device.
      times: how often it runs; None in a loop whose length the compiler does not know.
      source: name of the operation that it comes from.
    """

    kind: str
    bytes: int
    times: int | None
    source: str


def collectives(compiled: Any) -> list[Collective]:
    """Every collective of a program, those of loops with the number of turns.

    Of a branch all sides count.

    Args:
      compiled: `jax.jit(fn).lower(...).compile()`, or its text.

    Returns:
      One item an instruction.

    >>> import jax
    >>> collectives(jax.jit(lambda x: x + 1).lower(1.0).compile())
    []
    """
    text = compiled if isinstance(compiled, str) else compiled.as_text()
    bodies, entry = _computations(text)
    return list(_walk(bodies, entry, 1))


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation by name, and the name of the one that is run."""
    bodies: dict[str, list[str]] = {}
    entry, current = "", []
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            current = bodies.setdefault(header["name"], [])
            entry = header["name"] if line.startswith("ENTRY") else entry
        else:
            current.append(line)
    return bodies, entry


def _walk(bodies: dict[str, list[str]], name: str, times: int | None) -> Iterator[Collective]:
    for line in bodies.get(name, ()):
        if found := _INSTRUCTION.search(line):
            source = _NAME.search(line)
            yield Collective(found["kind"], _bytes(found), times, source.group(1) if source else "")
            continue
        called = _CALLED.findall(line)
        for group in _BRANCHES.findall(line):
            called += [part.strip().lstrip("%") for part in group.split(",")]
        turns = times
        if " while(" in line:
            known = _TURNS.search(line)
            turns = times * int(known.group(1)) if known and times is not None else None
        for other in called:
            yield from _walk(bodies, other, turns)


def _bytes(found: re.Match[str]) -> int:
    """Of the result; one that is started holds its operand before it."""
    sizes = [_size(kind, shape) for kind, shape in _ARRAY.findall(found["shape"])]
    if found.group(3) and found["kind"] != "all-reduce":
        return sizes[1] if len(sizes) == 2 else sum(sizes) // 2
    return sum(sizes)


def _size(kind: str, shape: str) -> int:
    digits = re.sub(r"\D", "", kind)
    bits = 8 if kind == "pred" else int(digits)
    return math.prod(map(int, filter(None, shape.split(",")))) * max(1, bits // 8)
