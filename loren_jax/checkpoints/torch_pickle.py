"""The pickle inside a ``torch.save`` file, read as data.

A pickle is a program for a small stack machine, and Python's own machine may call anything that the
program names. This one knows only the instructions and the few names that a saved ``state_dict``
consists of: it builds dictionaries, tuples, numbers and descriptions of tensors, and calls nothing.
Any other name or instruction is an error, so a checkpoint that carries code is refused, not run.
"""

import pickletools
from collections.abc import Iterator
from typing import Any, TypeAlias

from loren_jax.checkpoints.torch_tensors import (
    CONVERT,
    OrderedEntries,
    StoredTensor,
    allowed_global,
    called,
    stored_elements,
)

_MAX_OPERATIONS = 10_000_000
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_GETS = {"BINGET", "LONG_BINGET"}
_PUTS = {"BINPUT", "LONG_BINPUT"}
_NOTHING = {"PROTO", "FRAME"}

_MARK = object()


def parse_state_dict(pickled: bytes) -> dict[str, StoredTensor]:
    """Parses the pickle of a ``state_dict``.

    Args:
        pickled: The record ``data.pkl`` of the archive.

    Returns:
        Name -> description of the tensor, which is not yet checked against the storages' sizes.

    Raises:
        ValueError: If the pickle names anything else than tensors, is damaged, or holds no
            dictionary of tensors.
    """
    try:
        parsed = _Machine().run(pickled)
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"the pickle is damaged ({type(error).__name__}: {error})") from error
    if not isinstance(parsed, dict):
        raise ValueError(f"the pickle holds no state_dict; {CONVERT}")
    for name, entry in parsed.items():
        if not isinstance(entry, StoredTensor):
            raise ValueError(f"the entry {name!r} is no tensor; {CONVERT}")
    return parsed


Argument: TypeAlias = str | bytes | int | float | tuple[int, str] | None
"""Of an instruction, as `pickletools` reads it."""


class _Machine:
    """A stack machine without a way to call anything."""

    def __init__(self):
        self.stack: list[Any] = []
        self.memo: dict[Argument, Any] = {}

    def run(self, pickled: bytes) -> Any:
        for operation, argument in _operations(pickled):
            if operation == "STOP":
                return self.stack.pop()
            self.step(operation, argument)
        raise ValueError("the pickle does not end")

    def step(self, operation: str, argument: Argument) -> None:
        push = self.stack.append
        if operation in _LITERALS:
            push(argument)
        elif operation in _CONSTANTS:
            push(_CONSTANTS[operation])
        elif operation in _PUTS:
            self.memo[argument] = self.stack[-1]
        elif operation in _GETS:
            push(self.memo[argument])
        elif operation in _TUPLES:
            push(tuple(self.taken(_TUPLES[operation])))
        elif operation not in _NOTHING:
            method = getattr(self, f"do_{operation.lower()}", None)
            if method is None:
                raise ValueError(
                    f"the pickle has the instruction {operation}, which no state_dict needs, so "
                    f"it was not run; {CONVERT}"
                )
            method(argument)

    def taken(self, count: int) -> list[Any]:
        """Removes this many entries."""
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        entries = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return entries

    def marked(self) -> list[Any]:
        """Removes what was pushed since the last mark, and the mark."""
        entries = []
        while (entry := self.stack.pop()) is not _MARK:
            entries.append(entry)
        return entries[::-1]

    def do_mark(self, _: Argument) -> None:
        self.stack.append(_MARK)

    def do_empty_tuple(self, _: Argument) -> None:
        self.stack.append(())

    def do_tuple(self, _: Argument) -> None:
        self.stack.append(tuple(self.marked()))

    def do_empty_dict(self, _: Argument) -> None:
        self.stack.append({})

    def do_memoize(self, _: Argument) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def do_setitem(self, _: Argument) -> None:
        key, entry = self.taken(2)
        _set_items(self.stack[-1], [key, entry])

    def do_setitems(self, _: Argument) -> None:
        items = self.marked()
        _set_items(self.stack[-1], items)

    def do_global(self, argument: str) -> None:
        self.stack.append(allowed_global(argument.replace(" ", ".")))

    def do_stack_global(self, _: Argument) -> None:
        module, name = self.taken(2)
        self.stack.append(allowed_global(".".join((module, name))))

    def do_reduce(self, _: Argument) -> None:
        function, arguments = self.taken(2)
        self.stack.append(called(function, arguments))

    def do_build(self, _: Argument) -> None:
        self.stack.pop()  # attributes, such as the versions in `_metadata`
        if not isinstance(self.stack[-1], OrderedEntries):
            raise ValueError(
                f"the pickle sets attributes of something, so it was not run; {CONVERT}"
            )

    def do_binpersid(self, _: Argument) -> None:
        self.stack.append(stored_elements(self.stack.pop()))


def _operations(pickled: bytes) -> Iterator[tuple[str, Any]]:
    stream = pickletools.genops(pickled)
    for _ in range(_MAX_OPERATIONS):
        try:
            operation, argument, _ = next(stream)
        except StopIteration:
            return
        except ValueError as error:
            raise ValueError(f"the pickle is damaged ({error})") from error
        yield operation.name, argument
    raise ValueError(f"the pickle has more than {_MAX_OPERATIONS} instructions; {CONVERT}")


def _set_items(target: Any, items: list[Any]) -> None:
    if not isinstance(target, dict) or len(items) % 2:
        raise ValueError("the pickle is damaged (items without a dictionary)")
    for key, entry in zip(items[::2], items[1::2], strict=True):
        # Only text: hashing a nested tuple can take for ever.
        if not isinstance(key, str):
            raise ValueError(f"the pickle has a key that is a {type(key).__name__}, not a name")
        if key in target:
            raise ValueError(f"the pickle has two entries called {key!r}; export it anew")
        target[key] = entry
