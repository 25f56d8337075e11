"""Rows of JSON, one a line, each with its line; what is none is told with file and line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from harness.errors import HarnessError, SourceError


def json_rows(
    lines: Iterable[bytes], where: object, error: type[HarnessError] = SourceError
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and row of each line that is not empty. Raises `error`, naming `where` and the line."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row, problem = parse_row(line, first=number == 1)
        if problem:
            raise error(f"{where}:{number}: {problem}")
        yield number, row


def parse_row(line: bytes, first: bool = False) -> tuple[dict[str, Any], str]:
    """The object in a line, and what is wrong with it where there is none."""
    try:
        text = line.decode("utf-8-sig" if first else "utf-8")
        row = json.loads(text, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        return {}, f"not UTF-8 text (byte {error.start + 1} of the line)"
    except RecursionError:
        return {}, "not JSON that can be read: nested too deeply"
    except ValueError as error:
        return {}, f"not JSON: {error}"
    if not isinstance(row, dict):
        return {}, "an object is expected"
    return row, ""


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def text_problem(item: Mapping[str, Any], *fields: str) -> str:
    """What is wrong with fields that are to be text; empty where nothing is."""
    for name in fields:
        value = item.get(name)
        if not isinstance(value, str):
            kind = "missing" if value is None else type(value).__name__
            return f"{name} is {kind}; text is expected"
        if any("\ud800" <= character <= "\udfff" for character in value):
            return f"{name} has half of a surrogate pair (\\ud800…)"
    return ""


def wrong_shape(error: Exception) -> str:
    """What a converter stumbled over, in a row of another shape than its source's."""
    if isinstance(error, KeyError):
        return f"no field {error}"
    return str(error) or type(error).__name__
