"""Rows that hold a question and an answer in fields of their own, and lists of turns in a field.

Tested through tests/data/test_shapes.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.data.calls import parsed
from harness.data.tally import BadRow, Note
from harness.data.turns import Turn, kind, to_turns

TURNS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat")
"""Columns that hold a list of turns; the first that is filled is taken."""
ASKS = ("instruction", "prompt", "query", "question", "problem", "input")
ANSWERS = ("output", "completion", "response", "answer", "solution")
_MORE = ("input", "context")
"""Joined to what is asked."""


@dataclass(frozen=True)
class Columns:
    """Which columns hold question and answer, where the user says so."""

    ask: str | None = None
    answer: str | None = None


def pair(row: Mapping[str, Any], columns: Columns) -> tuple[str | None, str | None]:
    """Which columns hold what is asked and what is answered."""
    for name in (columns.ask, columns.answer):
        if name is not None and name not in row:
            raise BadRow(f"it has no field {name!r}; it has {', '.join(map(str, row))}")
    asks = [columns.ask] if columns.ask else _named(row, ASKS)
    answers = [columns.answer] if columns.answer else _named(row, ANSWERS)
    if "input" in asks and len(asks) > 1:
        asks.remove("input")
    if {"prompt", "completion"} <= {*asks, *answers}:  # TRL's own names
        return "prompt", "completion"
    if not filled(row, TURNS):
        for found, option in ((asks, "--ask"), (answers, "--answer")):
            if len(found) > 1:
                names = " and ".join(map(str, found))
                raise BadRow(f"{names}: each could be the text to train; choose by {option} FIELD")
    return (asks[0] if asks else None), (answers[0] if answers else None)


def _named(row: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    """Those that are filled, else the first that is there at all."""
    return filled(row, names) or [name for name in names if name in row][:1]


def listed(row: Mapping[str, Any], name: str, notes: set[Note]) -> list[Turn]:
    value = row[name]
    if isinstance(value, str):
        try:
            value = parsed(value)
        except ValueError:
            raise BadRow(f"{name} is str; a list of turns is expected") from None
    if isinstance(value, Mapping):  # as older datasets keep a list of objects
        value = _rows_of_columns(value, name)
    if not isinstance(value, list) or not value:
        raise BadRow(f"{name} is {kind(value)}; a list of turns is expected")
    return [made for turn in value for made in to_turns(turn, notes)]


def _rows_of_columns(value: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    columns = list(value.values())
    if not columns or not all(isinstance(c, list) and len(c) == len(columns[0]) for c in columns):
        raise BadRow(f"{name} is an object; a list of turns is expected")
    return [dict(zip(value, each, strict=True)) for each in zip(*columns, strict=True)]


def side(
    row: Mapping[str, Any], name: str, role: str, used: set[str], notes: set[Note]
) -> list[Turn]:
    value = row[name]
    if isinstance(value, list):
        turns = listed(row, name, notes)
        if role == "user" and any(turn["role"] == "assistant" for turn in turns):
            notes.add(("merged", f"answers within {name} (they are trained too)"))
        return turns
    texts = [text_of(row, name)]
    if role == "user":
        for more in _MORE:
            if more != name and row.get(more) is not None:
                used.add(more)
                texts.append(text_of(row, more))
                if texts[-1]:
                    notes.add(("merged", f"{more} -> {name}"))
    return [{"role": role, "content": "\n\n".join(text for text in texts if text)}]


def history(row: Mapping[str, Any], used: set[str], notes: set[Note]) -> list[Turn]:
    """Alpaca's and LLaMA-Factory's earlier turns: pairs of question and answer, or turns."""
    value = row.get("history")
    if value in (None, "", []):
        return []
    used.add("history")
    try:
        value = parsed(value) if isinstance(value, str) else value
    except ValueError:
        value = None
    if not isinstance(value, list):
        raise BadRow("history is no list of [question, answer]")
    turns: list[Turn] = []
    for each in value:
        if isinstance(each, Mapping):
            turns += to_turns(each, notes)
        elif isinstance(each, list) and len(each) == 2 and all(isinstance(t, str) for t in each):
            turns += [
                {"role": "user", "content": each[0]},
                {"role": "assistant", "content": each[1]},
            ]
        else:
            raise BadRow("history is no list of [question, answer]")
    notes.add(("merged", "history -> earlier turns"))
    return turns


def filled(row: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    return [name for name in names if row.get(name) not in (None, "", [])]


def text_of(row: Mapping[str, Any], name: str) -> str:
    if not isinstance(row[name], str):
        raise BadRow(f"{name} is {kind(row[name])}; text is expected")
    return str(row[name])
