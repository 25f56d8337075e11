"""One pass over every row of a dataset: roles, contents, fields that hold values, shapes.

Vectorised on the Arrow columns, a batch at a time: roles, null bits and offsets tell nearly all of
it, so that a million rows take about a second, in memory that does not grow with them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from harness.chats.dataset import SavedDataset
from harness.chats.rows import is_json, is_list
from harness.preflight.rows.shapes import Shapes, blank, numbers, valid_of
from harness.preflight.rows.written import written_turns

KNOWN_ROLES = ("system", "user", "assistant", "tool")
_SHOWN = 5


@dataclass
class Flaw:
    """Rows that share something: how many, and the first few by number."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, rows: Any, offset: int) -> None:
        """Add the rows of a batch that starts at `offset`: an array of True for each of them."""
        import numpy as np

        if not rows.any():
            return
        found = np.flatnonzero(rows)
        self.count += len(found)
        self.first += (found[: _SHOWN - len(self.first)] + offset).tolist()

    def __str__(self) -> str:
        more = ", …" if self.count > len(self.first) else ""
        word = "row" if self.count == 1 else "rows"
        return f"{self.count:,} {word} (number {', '.join(map(str, self.first))}{more})"


@dataclass
class Scan:
    """What the rows of one column of messages hold."""

    rows: int = 0
    turns: Counter[int] = field(default_factory=Counter)
    """Rows by number of messages."""
    roles: Counter[str] = field(default_factory=Counter)
    """Messages by role."""
    unknown_roles: dict[str, Flaw] = field(default_factory=dict)
    null: Flaw = field(default_factory=Flaw)
    empty: Flaw = field(default_factory=Flaw)
    no_role: Flaw = field(default_factory=Flaw)
    no_assistant: Flaw = field(default_factory=Flaw)
    empty_answer: Flaw = field(default_factory=Flaw)
    """Rows with an assistant's content that is None, empty or blank, without tool calls."""
    empty_other: Flaw = field(default_factory=Flaw)
    """Rows with another role's content that is None, empty or blank."""
    system: Flaw = field(default_factory=Flaw)
    """Rows with a system turn."""
    fields: dict[str, Flaw] = field(default_factory=dict)
    """Of each further field of a turn: rows in which it holds a value."""


@dataclass
class Scanned:
    """What one pass over the rows found."""

    scans: dict[str, Scan] = field(default_factory=dict)
    """By column of messages."""
    columns: dict[str, Flaw] = field(default_factory=dict)
    """Of each other column: rows in which it holds a value."""
    shapes: Shapes = field(default_factory=Shapes)


def scan_rows(
    dataset: SavedDataset,
    messages: tuple[str, ...],
    shaped: tuple[str, ...],
    others: tuple[str, ...],
) -> Scanned:
    """Scan all rows: columns of `messages`, whose types were found right, the shapes of the
    columns `shaped`, and where `others` hold values."""
    done = Scanned({c: Scan() for c in messages}, {c: Flaw() for c in others})
    names, offset = tuple(dict.fromkeys((*messages, *shaped, *others))), 0
    for batch in dataset.batches(names):
        if not batch.num_rows:
            continue
        columns = {name: batch.column(i) for i, name in enumerate(names)}
        for name, scan in done.scans.items():
            columns[name] = written_turns(columns[name])
            _scan_batch(scan, columns[name])
        for name, flaw in done.columns.items():
            flaw.add(holds(columns[name]), offset)
        if shaped:
            done.shapes.add([columns[name] for name in shaped], offset)
        offset += batch.num_rows
    return done


def _scan_batch(scan: Scan, column: Any) -> None:
    import numpy as np
    import pyarrow.compute as pc

    offset = scan.rows
    lengths = numbers(pc.list_value_length(column))
    valid = valid_of(column)
    ends = np.cumsum(lengths)

    def rows_with(turns: Any) -> Any:
        """Rows with a turn of those."""
        if not turns.any():
            return np.zeros(len(lengths), bool)
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(turns)])
        return sums[ends] > sums[ends - lengths]

    for number, count in zip(*np.unique(lengths, return_counts=True), strict=True):
        scan.turns[int(number)] += int(count)
    scan.null.add(~valid, offset)
    scan.empty.add(valid & (lengths == 0), offset)

    messages = pc.list_flatten(column)
    fields = dict(zip([f.name for f in messages.type], messages.flatten(), strict=True))
    assistant = _scan_roles(scan, fields["role"], rows_with)
    scan.no_assistant.add((lengths > 0) & ~rows_with(assistant), offset)
    empty = _empty(fields["content"]) & valid_of(fields["role"])
    called = holds(fields["tool_calls"]) if "tool_calls" in fields else np.zeros(len(empty), bool)
    scan.empty_answer.add(rows_with(empty & assistant & ~called), offset)
    scan.empty_other.add(rows_with(empty & ~assistant), offset)
    for name, values in fields.items():
        if name not in ("role", "content"):
            scan.fields.setdefault(name, Flaw()).add(rows_with(holds(values)), offset)
    scan.rows += len(lengths)


def _scan_roles(scan: Scan, role: Any, rows_with: Any) -> Any:
    """Count the roles; returns where the assistant speaks."""
    import numpy as np

    encoded = role.dictionary_encode()
    codes = numbers(encoded.indices, null=-1)
    assistant: Any = np.zeros(len(codes), bool)
    if (codes < 0).any():
        scan.no_role.add(rows_with(codes < 0), scan.rows)
        scan.roles["None"] += int((codes < 0).sum())
    for code, name in enumerate(encoded.dictionary.to_pylist()):
        here = codes == code
        scan.roles[name] += int(here.sum())
        if name == "assistant":
            assistant = here
        elif name == "system":
            scan.system.add(rows_with(here), scan.rows)
        elif name not in KNOWN_ROLES:
            scan.unknown_roles.setdefault(name, Flaw()).add(rows_with(here), scan.rows)
    return assistant


def _empty(content: Any) -> Any:
    """Where a content is None, an empty or blank text, an empty list, or parts without any text."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = content.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ~valid_of(content) | blank(content)
    if not is_list(kind):
        return ~valid_of(content)
    lengths = numbers(pc.list_value_length(content))
    ends, parts = np.cumsum(lengths), pc.list_flatten(content)
    if pa.types.is_struct(parts.type) and parts.type.get_field_index("text") >= 0:
        parts = pc.struct_field(parts, "text")
    full = ~_empty(parts) if not is_list(parts.type) else np.ones(len(parts), bool)
    sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(full)])
    return sums[ends] == sums[ends - lengths]


def holds(values: Any) -> Any:
    """Where an Arrow array holds something: no null, no empty text, no empty list, no struct of
    nothing but nulls."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if is_json(kind):
        values, kind = values.storage, values.storage.type
    valid = valid_of(values)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return valid & (numbers(pc.binary_length(values)) > 0)
    if is_list(kind):
        return valid & (numbers(pc.list_value_length(values)) > 0)
    if pa.types.is_struct(kind) and kind.num_fields:
        return np.logical_or.reduce([holds(child) for child in values.flatten()])
    return valid
