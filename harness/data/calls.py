"""Tools and calls of tools, in whatever form a file has them -> OpenAI's form, arguments as they are."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from harness.data.tally import BadRow, Note

_LONG_NUMBER = re.compile(r"\d{19}")
_LEAST, _MOST = -(2**63), 2**64 - 1
"""Whole numbers that `datasets` can read back from its Json columns."""


def parsed(text: str) -> Any:
    """The value of a JSON text, or of a Python literal as pandas writes lists into CSV cells.

    Raises ValueError.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            raise error from None


def as_json(value: Any, what: str) -> str:
    """A value as JSON text that `datasets` reads back as it is. Raises BadRow."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        raise BadRow(f"{what} has half of a surrogate pair (\\ud800…)") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRow(f"{what} cannot be kept as JSON: {error}") from None
    if _LONG_NUMBER.search(text):
        _check_numbers(value, what)
    return text


def _check_numbers(value: Any, what: str) -> None:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            _check_numbers(each, what)
    elif isinstance(value, int) and not _LEAST <= value <= _MOST:
        raise BadRow(f"{what} has a whole number of more than 64 bits: write it as text")


def to_calls(value: Any, field: str, notes: set[Note]) -> list[dict[str, Any]]:
    """The calls of an assistant's turn; empty without any. Raises BadRow."""
    found = [value] if isinstance(value, Mapping) else _listed(value, field)
    return [_call(each, field, notes) for each in found]


def to_tools(value: Any, field: str, notes: set[Note]) -> list[dict[str, Any]]:
    """The tools that a chat may call; empty without any. Raises BadRow."""
    found = [value] if isinstance(value, Mapping) else _listed(value, field)
    tools = []
    for each in found:
        tool = _object(each, field, "a tool")
        if field == "functions" and "function" not in tool:  # of OpenAI's first interface
            tool = {"type": "function", "function": tool}
            notes.add(("renamed", "functions -> tools"))
        tools.append(tool)
    return tools


def _listed(value: Any, field: str) -> list[Any]:
    if isinstance(value, str):
        if not value.strip():
            return []
        try:
            value = parsed(value)
        except ValueError:
            raise BadRow(f"{field} is a text that is no JSON: {value[:60]!r}") from None
        if isinstance(value, Mapping):
            return [value]
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadRow(f"{field} is {type(value).__name__}; a list is expected")
    return value


def _object(value: Any, field: str, what: str) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = parsed(value)
        except ValueError:
            raise BadRow(f"{what} in {field} is a text that is no JSON: {value[:60]!r}") from None
    if not isinstance(value, Mapping) or not value:
        raise BadRow(f"{what} in {field} is {type(value).__name__}; an object is expected")
    return dict(value)


def _call(value: Any, field: str, notes: set[Note]) -> dict[str, Any]:
    call = _object(value, field, "a call")
    inner = call.get("function")
    if isinstance(inner, Mapping):
        if not isinstance(inner.get("name"), str):
            raise BadRow(f"a call in {field} names no function")
        return call
    if not isinstance(call.get("name"), str):
        raise BadRow(f"a call in {field} names no function")
    notes.add(("renamed", f"{field} -> tool_calls" if field != "tool_calls" else "bare calls"))
    given = next((name for name in ("arguments", "parameters", "input") if name in call), None)
    kept = {key: call[key] for key in ("id",) if call.get(key) is not None}
    arguments = {} if given is None else call[given]
    return {**kept, "type": "function", "function": {"name": call["name"], "arguments": arguments}}
