"""Answers on disk: appended as they come, found again by item, never all in memory.

`partial-rs<k>.jsonl` holds one line an answer, in the order in which they came. An index in memory
(item id -> where its line begins) lets a chunk of items be read in the items' own order; 100,000
items cost some 15 MB, whatever their answers' length.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar

from harness.errors import ResultError
from harness.runs.rows import Row, append

T = TypeVar("T")

CHUNK = 1000
"""Items graded at a time: a grader's helpers start once a chunk, and a chunk is held in memory."""


class Answers:
    """The append-only file of one repeat. Rows with `error` count as not answered."""

    def __init__(self, path: Path) -> None:
        """Open or make the index of a file; a torn last line is cut off it."""
        self.path = path
        self._where: dict[str, int] = {}
        self._end = 0
        self.errors = 0
        """Rows with an error that this process has appended."""
        self._file: IO[bytes] | None = None
        if path.is_file():
            self._read_index()

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._where

    def _read_index(self) -> None:
        with self.path.open("rb") as file:
            for line in file:
                try:
                    row = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n") or not isinstance(row, dict) or "id" not in row:
                    break
                if "error" not in row:
                    self._where[row["id"]] = self._end
                self._end += len(line)
        if self._end != self.path.stat().st_size:
            with self.path.open("r+b") as file:
                file.truncate(self._end)

    def append(self, row: Row) -> None:
        """Write a row, whole, before anything else happens."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab", buffering=0)
        size = append(self._file, row)
        # A row with an error has its place too: in this process it is the item's answer.
        self._where[row["id"]] = self._end
        self._end += size
        self.errors += "error" in row

    def close(self) -> None:
        """Close the file for writing; `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def rows(self, ids: Iterable[str]) -> Iterator[Row]:
        """The row of each item, in this order. Raises ResultError for an item without one."""
        if not self._where:
            for item_id in ids:
                raise ResultError(f"{self.path}: no answer to {item_id}")
            return
        with self.path.open("rb") as file:
            for item_id in ids:
                if item_id not in self._where:
                    raise ResultError(f"{self.path}: no answer to {item_id}")
                file.seek(self._where[item_id])
                yield json.loads(file.readline())


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
