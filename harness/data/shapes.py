"""One row of any usual shape -> a chat to train on, and what became of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.data.calls import as_json, parsed, to_tools
from harness.data.pairs import (
    ANSWERS,
    ASKS,
    TURNS,
    Columns,
    filled,
    history,
    listed,
    pair,
    side,
    text_of,
)
from harness.data.tally import BadRow, Note
from harness.data.turns import REASONING, Turn

SYSTEM = ("system", "system_prompt", "system_message")
TOOLS = ("tools", "functions")
KWARGS = "chat_template_kwargs"
"""What TRL gives to the template for this row."""
_THOUGHTS = (*REASONING, "chain_of_thought", "Complex_CoT")
SHAPES = (
    "`messages` (role and content), `conversations` (from and value), "
    f"or one of {', '.join(ASKS)} and one of {', '.join(ANSWERS)}"
)


@dataclass
class Chat:
    """What is trained of a row."""

    messages: list[Turn]
    tools: list[dict[str, Any]] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    notes: set[Note] = field(default_factory=set)


def is_shaped(columns: list[str]) -> bool:
    """Whether rows with these columns may be chats."""
    names = set(columns)
    return bool(names & set(TURNS)) or bool(names & set(ASKS) and names & set(ANSWERS))


def to_chat(row: Any, columns: Columns = Columns()) -> Chat:
    """The chat of a row. Raises BadRow."""
    notes: set[Note] = set()
    if isinstance(row, list) and row and all(isinstance(turn, Mapping) for turn in row):
        row = {"messages": row}
    if not isinstance(row, Mapping):
        raise BadRow(f"it is {type(row).__name__}; an object is expected")
    if None in row:
        raise BadRow("it has more cells than the header has names")
    used: set[str] = set()
    turns = _turns(row, columns, used, notes)
    turns = _with_system(row, turns, used, notes)
    _add_thought(row, turns, used, notes)
    tools = _tools(row, used, notes)
    kwargs = _kwargs(row, used, notes)
    for name, value in row.items():
        if name not in used and value is not None and value != "" and value != []:
            notes.add(("dropped", str(name)))
    _check(turns)
    as_json(tools, "tools")
    notes.add(("kept", "messages"))
    return Chat(turns, tools, kwargs, notes)


def _turns(
    row: Mapping[str, Any], columns: Columns, used: set[str], notes: set[Note]
) -> list[Turn]:
    held = [] if columns.ask or columns.answer else filled(row, TURNS)
    ask, answer = pair(row, columns)
    if not held and (ask is None or answer is None):
        held = [name for name in TURNS if name in row]
        if not held:
            shown = ", ".join(map(str, row)) or "none"
            raise BadRow(f"its fields are {shown}; expected are {SHAPES}")
    if held:
        name = held[0]
        used.add(name)
        if name != "messages":
            notes.add(("renamed", f"{name} -> messages"))
        turns = listed(row, name, notes)
        return _with_prompt(row, turns, used, notes)
    assert ask is not None and answer is not None
    used |= {ask, answer}
    asked = side(row, ask, "user", used, notes)
    answered = side(row, answer, "assistant", used, notes)
    notes.add(("renamed", f"{ask} and {answer} -> messages"))
    return [*history(row, used, notes), *asked, *answered]


def _with_prompt(
    row: Mapping[str, Any], turns: list[Turn], used: set[str], notes: set[Note]
) -> list[Turn]:
    """Chats without a question whose `prompt` stands beside them; else `prompt` is left out."""
    prompt = row.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        return turns
    used.add("prompt")
    asked = [turn["content"] for turn in turns if turn["role"] == "user"]
    if not asked:
        notes.add(("merged", "prompt -> the user's turn"))
        place = 1 if turns[0]["role"] == "system" else 0
        return [*turns[:place], {"role": "user", "content": prompt}, *turns[place:]]
    same = str(asked[0]).strip() == prompt.strip()
    notes.add(("dropped", "prompt (the first question)" if same else "prompt (not in messages)"))
    return turns


def _with_system(
    row: Mapping[str, Any], turns: list[Turn], used: set[str], notes: set[Note]
) -> list[Turn]:
    """A system prompt beside the turns becomes the first one; an empty one none."""
    for name in SYSTEM:
        if row.get(name) is None:
            continue
        used.add(name)
        text = text_of(row, name)
        if not text.strip():
            continue
        if turns[0]["role"] != "system":
            turns = [{"role": "system", "content": text}, *turns]
            notes.add(("merged", f"{name} -> first turn"))
        elif turns[0]["content"] == text:
            notes.add(("merged", f"{name} (the first turn, too)"))
        else:
            raise BadRow(f"{name} is not the system turn that the chat begins with: keep one")
    return turns


def _add_thought(
    row: Mapping[str, Any], turns: list[Turn], used: set[str], notes: set[Note]
) -> None:
    """Reasoning beside the one answer of a row."""
    answers = [turn for turn in turns if turn["role"] == "assistant"]
    for name in filled(row, _THOUGHTS):
        if not answers or not isinstance(row[name], str):
            continue  # told as dropped
        answer = answers[-1]
        if answer.get("reasoning_content", row[name]) != row[name]:
            continue
        used.add(name)
        answer["reasoning_content"] = row[name]
        notes.add(("merged", f"{name} -> reasoning_content of the last answer"))


def _tools(row: Mapping[str, Any], used: set[str], notes: set[Note]) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = []
    for name in TOOLS:
        found = to_tools(row.get(name), name, notes)
        used.add(name)
        if found and tools and found != tools:
            raise BadRow("it has tools and functions, which differ")
        tools = tools or found
    if tools:
        notes.add(("kept", "tools"))
    return tools


def _kwargs(row: Mapping[str, Any], used: set[str], notes: set[Note]) -> dict[str, Any]:
    value = row.get(KWARGS)
    if value in (None, "", {}):
        return {}
    used.add(KWARGS)
    try:
        value = parsed(value) if isinstance(value, str) else value
    except ValueError:
        value = None
    if not isinstance(value, Mapping):
        raise BadRow(f"{KWARGS} is no object")
    as_json(value, KWARGS)
    notes.add(("kept", KWARGS))
    return dict(value)


def _check(turns: list[Turn]) -> None:
    if not any(turn["role"] == "assistant" for turn in turns):
        raise BadRow("no assistant turn, so nothing to train on")
    for number, turn in enumerate(turns):
        role, content = turn["role"], turn["content"]
        for text in (content, turn.get("reasoning_content"), turn.get("name")):
            if isinstance(text, str) and not _is_unicode(text):
                raise BadRow(f"turn {number} ({role}) has half of a surrogate pair (\\ud800…)")
        if turn.get("tool_calls"):
            as_json(turn["tool_calls"], f"turn {number} (tool_calls)")
        elif content is None:
            raise BadRow(f"turn {number}: the content of a {role} turn is missing or null")
        elif role in ("user", "assistant") and not content.strip():
            raise BadRow(f"turn {number} ({role}) is empty")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
