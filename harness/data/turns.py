"""One row of a file -> the turns of one chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROLES = ("system", "user", "assistant", "tool")
SPEAKERS = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant",
    "assistant": "assistant", "model": "assistant", "bot": "assistant", "system": "system",
    "tool": "tool", "function_response": "tool", "observation": "tool",
}  # fmt: skip
"""`from` in ShareGPT-like files, and the role that it means."""
SHAPES = (
    "`messages` (role and content), `conversations` (from and value), `prompt` and `completion`, "
    "or `instruction` (and `input`) and `output`"
)
Turn = dict[str, str]


class BadRow(Exception):
    """Why a row is no chat to train on."""


def to_messages(row: Mapping[str, Any]) -> list[Turn]:
    """The turns of a row of any known shape. Raises BadRow."""
    if row.get("messages") is not None:
        turns = [_turn(turn, "role", "content", None) for turn in _list(row, "messages")]
    elif row.get("conversations") is not None:
        turns = [_turn(turn, "from", "value", SPEAKERS) for turn in _list(row, "conversations")]
    elif "prompt" in row and "completion" in row:
        turns = [*_side(row, "prompt", "user"), *_side(row, "completion", "assistant")]
    elif "instruction" in row and "output" in row:
        more = "" if row.get("input") is None else _text(row, "input")
        asked = "\n\n".join(text for text in (_text(row, "instruction"), more) if text)
        turns = [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": _text(row, "output")},
        ]
    else:
        found = ", ".join(map(str, row)) or "none"
        raise BadRow(f"its fields are {found}; expected are {SHAPES}")
    if not any(turn["role"] == "assistant" for turn in turns):
        raise BadRow("no assistant turn, so nothing to train on")
    for number, turn in enumerate(turns):
        if not _is_unicode(turn["content"]):
            raise BadRow(f"turn {number} ({turn['role']}) has half of a surrogate pair (\\ud800…)")
        if turn["role"] in ("user", "assistant") and not turn["content"].strip():
            raise BadRow(f"turn {number} ({turn['role']}) is empty")
    return turns


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _list(row: Mapping[str, Any], field: str) -> list[Any]:
    value = row[field]
    if not isinstance(value, list) or not value:
        raise BadRow(f"{field} is {_kind(value)}; a list of turns is expected")
    return value


def _turn(turn: Any, who: str, what: str, names: Mapping[str, str] | None) -> Turn:
    if not isinstance(turn, dict):
        raise BadRow(f"a turn is {_kind(turn)}; {{{who}, {what}}} is expected")
    speaker, content = turn.get(who), turn.get(what)
    role = names.get(str(speaker)) if names is not None else speaker
    if role not in ROLES:
        known = ", ".join(names or ROLES)
        raise BadRow(f"unknown {who} {speaker!r}; known: {known}")
    if turn.get("tool_calls"):
        raise BadRow("a turn has tool_calls, which the chat templates here do not train")
    if not isinstance(content, str):
        raise BadRow(f"the {what} of a {role} turn is {_kind(content)}; text is expected")
    return {"role": str(role), "content": content}


def _side(row: Mapping[str, Any], field: str, role: str) -> list[Turn]:
    if isinstance(row[field], list):
        return [_turn(turn, "role", "content", None) for turn in _list(row, field)]
    return [{"role": role, "content": _text(row, field)}]


def _text(row: Mapping[str, Any], field: str) -> str:
    if not isinstance(row[field], str):
        raise BadRow(f"{field} is {_kind(row[field])}; text is expected")
    return str(row[field])


def _kind(value: Any) -> str:
    return "missing or null" if value is None else "empty" if value == [] else type(value).__name__
