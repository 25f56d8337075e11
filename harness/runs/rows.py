"""Rows of JSONL files: written each whole on a line of its own, read in spite of damaged lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

Row = dict[str, Any]


def json_line(row: Mapping[str, Any]) -> bytes:
    """One line of JSON in UTF-8; half a surrogate pair, which UTF-8 cannot hold, stays escaped."""
    try:
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(row).encode() + b"\n"


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """The text of a whole file."""
    return b"".join(map(json_line, rows)).decode()


def append(file: IO[bytes], row: Mapping[str, Any], *, to_disk: bool = False) -> int:
    """Write a row at the end of an open file; returns its bytes.

    It has left this process when this returns, and with `to_disk` it is on the disk.
    """
    line = json_line(row)
    file.write(line)
    file.flush()
    if to_disk:
        os.fsync(file.fileno())
    return len(line)


def open_append(path: Path) -> IO[bytes]:
    """A file at whose end rows are written; a torn last line gets its end, and nothing is cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab", buffering=0)
    if file.tell() and not _ends_a_line(path):
        file.write(b"\n")
    return file


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def readable(path: Path) -> Iterator[tuple[int, Row | None]]:
    """(offset, row) of every row in a file that a crash may have damaged.

    (offset, None) stands for a line with something else in it: NUL bytes of a node that lost power,
    a row that was cut, what is no UTF-8. Whole rows before and after it on the same line are read.
    """
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if row := _whole(line):
                yield offset, row
            elif line.strip():
                yield from _pieces(line, offset)
            offset += len(line)


def row_at(file: IO[bytes], offset: int) -> Row:
    """The row that begins there, as `readable` found it."""
    file.seek(offset)
    row: Row = _DECODER.raw_decode(file.readline().decode("utf-8", "surrogateescape"))[0]
    return row


_DECODER = json.JSONDecoder()


def _whole(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _pieces(line: bytes, offset: int) -> Iterator[tuple[int, Row | None]]:
    """The rows in a line that is not one row; (offset, None) for all the rest of it."""
    yield offset, None
    start = line.find(b'{"')
    while start >= 0:
        text = line[start:].decode("utf-8", "surrogateescape")
        try:
            row, end = _DECODER.raw_decode(text)
            size = len(text[:end].encode())
        except (ValueError, RecursionError):  # UnicodeEncodeError: what is no UTF-8 is inside
            start = line.find(b'{"', start + 1)
            continue
        yield offset + start, row
        start = line.find(b'{"', start + size)
