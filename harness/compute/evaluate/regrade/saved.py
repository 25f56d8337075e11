"""A file of saved answers, read row by row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import UserError

Row = dict[str, Any]
_BOM = b"\xef\xbb\xbf"


class SavedAnswers:
    """The rows of a JSONL file; blank lines are none."""

    def __init__(self, path: Path) -> None:
        """Read through the file once. Raises UserError for a line that is no row (file:line)."""
        self.path = path
        self.errors = 0
        self._count = sum(1 for _ in self.rows())
        if not self._count:
            raise UserError.at(path, "no answers in it")

    def __len__(self) -> int:
        return self._count

    def rows(self) -> Iterator[tuple[str, Row]]:
        """(file:line, row) of each row."""
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    text = line.removeprefix(_BOM) if number == 1 else line
                    if text.strip():
                        where = f"{self.path}:{number}"
                        yield where, _row(text, where)
        except OSError as error:
            raise UserError.at(self.path, f"cannot be read: {error}") from None


def _row(text: bytes, where: str) -> Row:
    try:
        row = json.loads(text)
    except UnicodeDecodeError:
        raise UserError.at(where, "not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise UserError.at(where, f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise UserError.at(where, "an object is expected")
    return row


def response_of(row: Row, where: str) -> str | None:
    """The answer in a row; None for one of our own rows whose request failed. Raises UserError."""
    for name in ("generation", "response"):
        if name in row:
            text = row[name]
            if text is None or isinstance(text, str):
                return text or ""
            raise UserError.at(where, f"{name} is {type(text).__name__}; text is expected")
    if "error" in row:
        return None
    raise UserError.at(where, "neither `response` nor `generation` in it")
