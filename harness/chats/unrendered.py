"""Which fields hold values that a template never shows: what somebody may expect to be trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.chats.dataset import BESIDE
from harness.chats.render import Renderer
from harness.chats.rows import TURNS, Row

_TRIED = 3
"""Rows of each field."""
_SAID_ELSEWHERE = ("role", "content", "weight", "id", "tool_call_id")
"""Rendered always, honoured in the mask, or only there to tell calls apart."""
_ALIASES = ({"reasoning_content", "reasoning", "thinking"},)
"""Each of them is shown where one is (transformers 5.23, `_alias_reasoning_fields`)."""


def unrendered(renderer: Renderer, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Names of fields of turns, and of columns beside them, that hold values in some rows and whose
    absence changes the text of none of the few that are tried."""
    holding: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        for name in _fields(row):
            found = holding.setdefault(name, [])
            if len(found) < _TRIED:
                found.append(row)
    return tuple(
        name for name, some in holding.items() if not any(_shows(renderer, r, name) for r in some)
    )


def _fields(row: Mapping[str, Any]) -> set[str]:
    names = {name for turn in _turns(row) for name, value in turn.items() if _holds(value)}
    columns = {name for name in BESIDE if _holds(row.get(name))}
    return (names - set(_SAID_ELSEWHERE)) | columns


def _turns(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for column in TURNS:
        turns = row.get(column)
        if isinstance(turns, list):
            yield from (turn for turn in turns if isinstance(turn, Mapping))


def _shows(renderer: Renderer, row: Mapping[str, Any], name: str) -> bool:
    """Whether a row is rendered otherwise without a field; also where it cannot be rendered."""
    try:
        return renderer.text(row) != renderer.text(_without(row, name))
    except Exception:  # said of the row itself
        return True


def _without(row: Mapping[str, Any], name: str) -> Row:
    names = next((alike for alike in _ALIASES if name in alike), {name})
    done = {
        column: value for column, value in row.items() if column not in BESIDE or column != name
    }
    for column in TURNS:
        if isinstance(done.get(column), list):
            done[column] = [
                {n: v for n, v in turn.items() if n not in names}
                if isinstance(turn, Mapping)
                else turn
                for turn in done[column]
            ]
    return done


def _holds(value: Any) -> bool:
    return value not in (None, "", [], {})
