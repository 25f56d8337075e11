"""A prepared benchmark's items, read from disk one at a time."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, overload

from harness.benchmarks.rows import parse_row, text_problem

Item = dict[str, Any]


def _identity(line: bytes, number: int) -> str:
    """The id of the item in a line. Raises ValueError."""
    item, problem = parse_row(line)
    if problem and "object" not in problem:
        raise ValueError(f"line {number}: {problem}")
    if not isinstance(item.get("id"), str):
        raise ValueError(f"line {number} has no id")
    if problem := text_problem(item, "id"):
        raise ValueError(f"line {number}: {problem}")
    return str(item["id"])


class ItemFile(Sequence[Item]):
    """The items of a JSONL file; in memory are only the places of its lines (8 bytes each)."""

    def __init__(self, path: Path, limit: int | None = None) -> None:
        """Read through the file once; `limit` keeps the first so many items.

        Raises OSError, and ValueError for a line that is no object with an id of its own.
        """
        self.path = path
        self._starts = array("Q")
        digest = hashlib.sha256()
        seen: set[bytes] = set()
        at = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                digest.update(line)
                if line.strip():
                    identity = _identity(line, number).encode()
                    seen.add(hashlib.md5(identity, usedforsecurity=False).digest())
                    self._starts.append(at)
                at += len(line)
        self.total = len(self._starts)
        """Items in the file, whatever the limit."""
        self.different = len(seen)
        """Different ids among them."""
        self.sha256 = digest.hexdigest()
        if limit is not None:
            self._starts = self._starts[:limit]

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Item]:
        with self.path.open("rb") as file:
            for line in islice((line for line in file if line.strip()), len(self)):
                yield json.loads(line)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        with self.path.open("rb") as file:
            file.seek(self._starts[index])
            item: Item = json.loads(file.readline())
            return item
