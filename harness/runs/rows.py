"""Rows of JSONL files: the one place where they are written, each whole on a line of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
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
