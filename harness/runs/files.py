"""Atomic writes, and reads that never take a half-written file for data."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from harness.errors import ResultError


def utc_now() -> str:
    """The time now as `2026-01-31T12:00:00Z`."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a whole file, or leave the old one: temporary file beside it, fsync, `os.replace`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def open_atomic(path: Path) -> Iterator[IO[bytes]]:
    """A file to write piece by piece; it appears, whole, at the end, and never after an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write a JSON file atomically; NaN and infinities are refused (ValueError).

    Half a surrogate pair, which UTF-8 cannot hold, stays escaped.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text.encode("utf-8", "backslashreplace").decode())


def read_json(path: Path | str, make: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The JSON value in a file; `make` makes each object of its names and values, if given.

    Raises ResultError when it is missing or unreadable.
    """
    try:
        with open(path, "rb") as file:
            text = file.read()
    except FileNotFoundError:
        raise ResultError(f"{path}: no such file") from None
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_json(path, text, make)


def parse_json(
    path: Path | str, text: bytes, make: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """The same, of a file's text. Raises ResultError."""
    try:
        return json.loads(text.decode().removeprefix("\ufeff"), object_pairs_hook=make)
    except RecursionError:
        raise ResultError(f"{path}: cannot be read as JSON: nested too deeply") from None
    except ValueError as error:
        raise ResultError(f"{path}: cannot be read as JSON: {error}") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ResultError when it is missing, unreadable or no mapping."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise ResultError(f"{path}: a mapping is expected")
    return value
