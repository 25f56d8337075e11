"""One turn of a chat, as anybody writes it -> role, content, reasoning, calls.

Forms: OpenAI's messages (text, parts, tool_calls, function_call), ShareGPT's from and value (with
function_call and observation as LLaMA-Factory has them), Anthropic's parts (thinking, tool_use,
tool_result).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.data.calls import to_calls
from harness.data.tally import BadRow, Note

ROLES = ("system", "user", "assistant", "tool")
SPEAKERS = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant",
    "assistant": "assistant", "model": "assistant", "bot": "assistant", "ai": "assistant",
    "system": "system", "developer": "system", "tool": "tool", "function": "tool",
    "function_response": "tool", "tool_response": "tool", "observation": "tool",
    "ipython": "tool", "function_call": "assistant", "tool_call": "assistant",
}  # fmt: skip
"""How files call a speaker, and the role that it means."""
CALLERS = ("function_call", "tool_call")
"""Speakers whose words are calls, as JSON."""
REASONING = ("reasoning_content", "reasoning", "thinking")
CALLS = ("tool_calls", "function_call", "function_calls")
_WHO, _WHAT = ("role", "from"), ("content", "value")
_NAMES = ("name", "tool_call_id")
_TEXT_PARTS = (None, "text", "input_text", "output_text")
_THOUGHT_PARTS = ("thinking", "reasoning")
_KNOWN = frozenset((*_WHO, *_WHAT, *REASONING, *CALLS, *_NAMES, "weight"))
Turn = dict[str, Any]


def to_turns(turn: Any, notes: set[Note]) -> list[Turn]:
    """The turns that one turn of a file stands for: one, but for results of several tools.

    Raises BadRow.
    """
    if not isinstance(turn, Mapping):
        raise BadRow(f"a turn is {kind(turn)}; {{role, content}} or {{from, value}} is expected")
    role = _role(turn, notes)
    field, content = _either(turn, _WHAT, "content")
    made: Turn = {"role": role, "content": None}
    results: list[Turn] = []
    if _speaker(turn) in CALLERS:
        made["tool_calls"] = to_calls(content, _speaker(turn), notes)
    else:
        made["content"] = _content(content, field, role, made, results, notes)
    _add_reasoning(turn, made, notes)
    _add_calls(turn, made, notes)
    for name in _NAMES:
        if turn.get(name) is not None:
            made[name] = str(turn[name])
            notes.add(("kept", f"{name} (of turns)"))
    _add_weight(turn, made, notes)
    for other, value in turn.items():
        if other not in _KNOWN and value is not None and value != []:
            notes.add(("dropped", f"{other} (of turns)"))
    if results and made["content"] is None and len(made) == 2:
        return results
    return [*results, made]


def _speaker(turn: Mapping[str, Any]) -> str:
    _, who = _either(turn, _WHO, "speaker")
    return str(who).strip().casefold()


def _role(turn: Mapping[str, Any], notes: set[Note]) -> str:
    field, who = _either(turn, _WHO, "speaker")
    role = SPEAKERS.get(_speaker(turn))
    if role is None:
        known = ", ".join(ROLES if field == "role" else SPEAKERS)
        told = repr(who) if len(repr(who)) < 80 else f"{repr(who)[:80]}…"
        raise BadRow(f"unknown {field} {told}; known: {known}")
    if who != role:
        notes.add(("renamed", f"{who} -> {role}"))
    return role


def _either(turn: Mapping[str, Any], names: tuple[str, ...], what: str) -> tuple[str, Any]:
    """Which of the names a turn has, and its value; two values that differ are a BadRow."""
    found = [name for name in names if turn.get(name) is not None]
    if len(found) > 1 and turn[found[0]] != turn[found[1]]:
        raise BadRow(f"a turn has {found[0]} and {found[1]}, which differ")
    field = found[0] if found else next((name for name in names if name in turn), names[0])
    return field, turn.get(field)


def _content(
    value: Any, field: str, role: str, made: Turn, results: list[Turn], notes: set[Note]
) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(_is_part(part) for part in value):
        return _joined(value, role, made, results, notes)
    if isinstance(value, Mapping) and isinstance(value.get("text"), str) and "type" in value:
        return _joined([value], role, made, results, notes)
    if role == "tool" and isinstance(value, Mapping | list):
        notes.add(("merged", "results of tools that are objects -> JSON text"))
        return json.dumps(value, ensure_ascii=False)
    raise BadRow(f"the {field} of a {role} turn is {kind(value)}; text is expected")


def _is_part(part: Any) -> bool:
    return isinstance(part, str) or (
        isinstance(part, Mapping) and ("type" in part or isinstance(part.get("text"), str))
    )


def _joined(
    parts: list[Any], role: str, made: Turn, results: list[Turn], notes: set[Note]
) -> str | None:
    """The text of parts, as templates put them together; thoughts and calls go to `made`."""
    texts: list[str] = []
    for part in parts:
        name = None if isinstance(part, str) else part.get("type")
        if isinstance(part, str):
            texts.append(part)
        elif name in _TEXT_PARTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif name in _THOUGHT_PARTS and isinstance(part.get(name) or part.get("text"), str):
            made["reasoning_content"] = made.get("reasoning_content", "") + (
                part.get(name) or part["text"]
            )
        elif name == "tool_use":
            made["tool_calls"] = made.get("tool_calls", []) + to_calls(part, "tool_use", notes)
        elif name == "tool_result":
            inner: Turn = {"role": "tool", "content": None}
            inner["content"] = _content(part.get("content"), "content", "tool", inner, [], notes)
            if part.get("tool_use_id") is not None:
                inner["tool_call_id"] = str(part["tool_use_id"])
            results.append(inner)
        else:
            raise BadRow(f"the content of a {role} turn has a part of type {name!r}, not text")
    if parts:
        notes.add(("merged", "parts of contents -> text"))
    return "".join(texts) if texts else None


def _add_reasoning(turn: Mapping[str, Any], made: Turn, notes: set[Note]) -> None:
    for field in REASONING:
        value = turn.get(field)
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise BadRow(f"the {field} of a turn is {kind(value)}; text is expected")
        if made["role"] != "assistant":
            notes.add(("dropped", f"{field} (of other turns than the assistant's)"))
        elif made.setdefault("reasoning_content", value) != value:
            raise BadRow(f"a turn has two kinds of reasoning, which differ ({field})")
        elif field != REASONING[0]:
            notes.add(("renamed", f"{field} -> {REASONING[0]}"))
    if "reasoning_content" in made:
        notes.add(("kept", "reasoning_content (of turns)"))


def _add_calls(turn: Mapping[str, Any], made: Turn, notes: set[Note]) -> None:
    for field in CALLS:
        calls = to_calls(turn.get(field), field, notes)
        if not calls:
            continue
        if made["role"] != "assistant":
            raise BadRow(f"a {made['role']} turn has {field}; only the assistant's may")
        if made.get("tool_calls", calls) != calls:
            raise BadRow(f"a turn has two kinds of calls, which differ ({field})")
        made["tool_calls"] = calls
    if made.get("tool_calls"):
        notes.add(("kept", "tool_calls (of turns)"))
    else:
        made.pop("tool_calls", None)


def _add_weight(turn: Mapping[str, Any], made: Turn, notes: set[Note]) -> None:
    weight = turn.get("weight")
    if weight is None:
        return
    if not isinstance(weight, int | float):
        raise BadRow(f"the weight of a turn is {kind(weight)}; a number is expected")
    made["weight"] = float(weight)
    notes.add(("kept", "weight (of turns)"))


def kind(value: Any) -> str:
    """What a value is, in words of a message."""
    return "missing or null" if value is None else "empty" if value == [] else type(value).__name__
