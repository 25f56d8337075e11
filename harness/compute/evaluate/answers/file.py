"""Answers on disk: appended as they come, found again by item, never all in memory.

`partial-rs<k>.jsonl` holds one line an answer, in the order in which they came. An index in memory
(item id -> where its line begins) lets a chunk of items be read in the items' own order; 100,000
items cost some 15 MB, whatever their answers' length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TypeVar

from harness.errors import ResultError
from harness.runs.rows import Row, append, open_append, readable, row_at

T = TypeVar("T")

CHUNK = 1000
"""Items graded at a time: a grader's helpers start once a chunk, and a chunk is held in memory."""


class Answers:
    """The append-only file of one repeat. Rows with `error` count as not answered."""

    def __init__(self, path: Path, *, settled: bool = False) -> None:
        """Open or make the index of a file. A damaged line costs its own row and no other.

        `settled`: rows with `error` count, too; nobody is asked for them any more.
        """
        self.path = path
        self._settled = settled
        self._where: dict[str, int] = {}
        self._end = 0
        self.errors = 0
        """Rows with an error that this process has appended."""
        self.damaged = 0
        """Lines from which nothing, or not all, could be read."""
        self._file: IO[bytes] | None = None
        if path.is_file():
            self._read_index()

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._where

    def _read_index(self) -> None:
        for offset, row in readable(self.path):
            if row is None or not _is_answer(row):
                self.damaged += 1
            elif "error" not in row or (self._settled and row["id"] not in self._where):
                self._where[row["id"]] = offset

    def append(self, row: Row) -> None:
        """Write a row, whole, before anything else happens."""
        if self._file is None:
            self._file = open_append(self.path)
            self._end = self._file.tell()
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
                yield row_at(file, self._where[item_id])


_NUMBERS = ("num_generated_tokens", "generation_start_time", "generation_end_time")


def _is_answer(row: Row) -> bool:
    """Whether it is a row of ours: of an item, with its answer's text or an error."""
    texts = row.get("generations", [])
    return (
        isinstance(row.get("id"), str)
        and isinstance(row.get("error", row.get("generation")), str)
        and isinstance(texts, list)
        and all(isinstance(text, str) for text in texts)
        and all(isinstance(row.get(name), int | float | None) for name in _NUMBERS)
    )


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
