"""JSON values of a file that is too large to be held, one after another.

Own code, as the streaming parsers of others are one more package for forty lines: the standard
library's decoder is tried on what was read so far, and again once more was read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

_CHUNK = 1 << 20
_NEAR_END = 16
"""Characters: a number, a word or an escape that is cut at the end of what was read."""


class Repeated(ValueError):
    """An object has a name twice."""


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of names that differ; json alone would silently keep the last. Raises Repeated."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Repeated(f"it has the field {twice!r} twice")
    return made


class JsonText:
    """A text of JSON, read forward. Methods raise ValueError where it is none."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._text, self._at, self._whole = file, "", 0, False
        self.spans_lines = False
        """Whether there are line ends in the value that was read last."""
        self._decode = json.JSONDecoder(object_pairs_hook=unique).raw_decode

    def peek(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            while self._at < len(self._text):
                if not self._text[self._at].isspace() and self._text[self._at] != "\ufeff":
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def take(self, *expected: str) -> str:
        """Read one of these characters."""
        found = self.peek()
        if found not in expected or not found:
            told = " or ".join(map(repr, expected))
            raise ValueError(f"{told} is expected, found {found or 'the end'!r}")
        self._at += 1
        return found

    def value(self) -> Any:
        """Read one whole value."""
        if not self.peek():
            raise ValueError("a value is expected, found the end")
        while True:
            try:
                found, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.pos >= len(self._text) - _NEAR_END
                if (cut or error.msg.startswith("Unterminated")) and self._more():
                    continue
                raise
            except RecursionError:
                raise ValueError("nested too deeply") from None
            if end == len(self._text) and self._more():
                continue  # a number may go on
            self.spans_lines = "\n" in self._text[self._at : end]
            self._at = end
            return found

    def items(self) -> Iterator[Any]:
        """The elements of the array that comes next."""
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            if self.take(",", "]") == "]":
                return

    def members(self) -> Iterator[str]:
        """The names of the object that comes next; the value of each is to be read by the caller."""
        self.take("{")
        if self.peek() == "}":
            self.take("}")
            return
        while True:
            name = self.value()
            if not isinstance(name, str):
                raise ValueError("a name in an object is no text")
            self.take(":")
            yield name
            if self.take(",", "}") == "}":
                return

    def _more(self) -> bool:
        if self._whole:
            return False
        rest = self._text[self._at :]
        more = self._file.read(max(_CHUNK, len(rest)))  # doubled: never the same text many times
        self._text, self._at, self._whole = rest + more, 0, not more
        return bool(more)
