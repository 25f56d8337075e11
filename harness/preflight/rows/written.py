"""Turns that are written as JSON (datasets' `Json()` feature), as Arrow would have them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.chats.rows import RowProblem, is_json, is_list, joined

_TEXT = ("role", "content")


def written_turns(column: Any) -> Any:
    """A column of messages as a list of structs, where it is or holds JSON; others as they are.

    Contents of parts are their text; of every further field it is kept whether it holds a value.
    """
    kind = column.type
    if not (is_json(kind) or (is_list(kind) and is_json(kind.value_type))):
        return column
    import pyarrow as pa

    rows = column.to_pylist()
    turns = [None if row is None else _turns(row) for row in rows]
    names = sorted({name for row in turns for turn in row or [] for name in turn} - set(_TEXT))
    calls = pa.list_(pa.string())
    fields = [(name, pa.string()) for name in _TEXT]
    fields += [(name, calls if name == "tool_calls" else pa.string()) for name in names]
    return pa.array(turns, pa.list_(pa.struct(fields)))


def _turns(row: Any) -> list[dict[str, Any]]:
    found = json.loads(row) if isinstance(row, str) else row
    texts = found if isinstance(found, list) else []
    parsed = [json.loads(turn) if isinstance(turn, str) else turn for turn in texts]
    return [_turn(turn) if isinstance(turn, Mapping) else {} for turn in parsed]


def _turn(turn: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: _held(name, value) for name, value in turn.items()}
    return {name: value for name, value in kept.items() if value is not None}


def _held(name: str, value: Any) -> Any:
    if value is None or value in ([], {}, ""):
        return "" if name == "content" and value == "" else None
    if name == "content" and isinstance(value, list):
        try:
            return joined(value)
        except RowProblem:
            return "parts"
    if name in _TEXT or name == "weight":
        return str(value)
    return ["call"] * len(value) if name == "tool_calls" and isinstance(value, list) else "held"
