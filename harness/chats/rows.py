"""Rows as a chat template sees them: of Arrow's values, without what Arrow put there itself.

    plain_rows    Arrow -> Python: JSON decoded, keys left out whose value is null in a struct
    ready         one row: parts joined to text, tools and template arguments parsed

Arrow gives every struct the keys of all rows, and null to those that a row does not have: another
tool's parameters, another call's arguments. In JSON text, and in datasets' `Json()` feature, a null
is one that somebody wrote, and stays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]
RENDERING = 2
"""Raised whenever the same row becomes other tokens or labels: rows tokenised before are not used."""
TURNS = ("messages", "prompt", "completion")
"""Columns of messages."""
_TEXT_PARTS = ("text", "input_text", "output_text")
_PART_WORDS = ("type", "text")


class RowProblem(ValueError):
    """A row that cannot be trained as it is; the message says why."""


def why(problem: Exception) -> str:
    """A problem of a row in words: our own, or whatever a template raised."""
    own = isinstance(problem, RowProblem)
    return str(problem) if own else f"{type(problem).__name__}: {problem}"


def plain_rows(table: Any) -> list[Row]:
    """The rows of an Arrow record batch or table."""
    names = table.schema.names
    columns = [_plain_column(table.column(i)) for i in range(len(names))]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain_column(column: Any) -> list[Any]:
    convert, values = _converter(column.type), column.to_pylist()
    return values if convert is None else [v if v is None else convert(v) for v in values]


def _converter(kind: Any) -> Callable[[Any], Any] | None:
    """What makes a plain value of one of this Arrow type that is not null; None: it is one."""
    import pyarrow as pa

    if is_json(kind):
        return json.loads
    if pa.types.is_struct(kind):
        fields = {kind.field(i).name: _converter(kind.field(i).type)
                  for i in range(kind.num_fields)}  # fmt: skip
        return lambda value: {
            name: value[name] if convert is None else convert(value[name])
            for name, convert in fields.items()
            if value[name] is not None
        }
    if pa.types.is_map(kind):
        return dict
    if is_list(kind):
        inner = _converter(kind.value_type)
        if inner is None:
            return None
        return lambda values: [v if v is None else inner(v) for v in values]
    return None


def is_json(kind: Any) -> bool:
    """Whether an Arrow type is that of datasets' `Json()` feature."""
    return getattr(kind, "extension_name", "") == "arrow.json"


def is_list(kind: Any) -> bool:
    """Whether an Arrow type is a list of any kind."""
    import pyarrow as pa

    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests)


def ready(row: Mapping[str, Any]) -> Row:
    """The row as it is rendered. Raises RowProblem."""
    done: Row = {name: _turns(row[name]) for name in TURNS if name in row}
    tools = parsed(row.get("tools"), "tools")
    if tools:
        done["tools"] = [parsed(tool, "tools") for tool in tools] if _is_seq(tools) else tools
    arguments = parsed(row.get("chat_template_kwargs"), "chat_template_kwargs")
    if arguments:
        if not isinstance(arguments, Mapping):
            raise RowProblem("chat_template_kwargs are no mapping")
        done["chat_template_kwargs"] = dict(arguments)
    return done


def parsed(value: Any, name: str) -> Any:
    """The value of a column that may be JSON text. Raises RowProblem."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except ValueError as error:
        raise RowProblem(f"{name} are no JSON: {error}") from None


def _turns(turns: Any) -> Any:
    if not _is_seq(turns):
        return turns
    return [_turn(turn) if isinstance(turn, Mapping) else turn for turn in turns]


def _turn(turn: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in turn.items() if value is not None}
    if _is_seq(kept.get("content")):
        kept["content"] = joined(kept["content"])
    return kept


def joined(parts: Sequence[Any]) -> str:
    """The text of a content that is a list of parts. Raises RowProblem for what is no text."""
    return "".join(map(_part, parts))


def _part(part: Any) -> str:
    if part is None or isinstance(part, str):
        return part or ""
    if not isinstance(part, Mapping):
        raise RowProblem(f"a part of a content is {type(part).__name__}, not text")
    kind = part.get("type") or "text"
    others = [name for name, value in part.items() if name not in _PART_WORDS and _holds(value)]
    text = part.get("text")
    if kind not in _TEXT_PARTS or (text is None and others):
        raise RowProblem(f"a part of a content is of type {kind!r}, which is no text")
    if not isinstance(text, str | None):
        raise RowProblem("the text of a part of a content is no text")
    return text or ""


def _holds(value: Any) -> bool:
    return value not in (None, "", [], {})


def _is_seq(value: Any) -> bool:
    return isinstance(value, list | tuple)
