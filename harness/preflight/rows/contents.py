"""What every row of a dataset holds: roles and contents, counted over all rows.

Vectorised on the Arrow columns, and without reading any text: roles, null bits and offsets tell
all of it, so that a million rows take about a second.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from harness.chats.dataset import SavedDataset, choose_columns
from harness.config.training.train import TrainSpec
from harness.preflight.findings import Finding, error, warning

KNOWN_ROLES = ("system", "user", "assistant", "tool")
PLACE = "train.dataset_name"
_SHOWN = 5


@dataclass
class Flaw:
    """Rows that share a fault: how many, and the first few by number."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, rows: Any, offset: int) -> None:
        """Add an Arrow array of row numbers within a batch that starts at `offset`."""
        self.count += len(rows)
        for number in rows[: _SHOWN - len(self.first)].to_pylist():
            self.first.append(number + offset)

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
    """Rows with an assistant's content that is None or empty, without tool calls."""
    empty_other: Flaw = field(default_factory=Flaw)
    """Rows with another role's content that is None or empty."""


def column_problem(kind: Any) -> str:
    """Why an Arrow type is no column of messages; empty when it is one."""
    import pyarrow as pa

    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return f"is {_short(kind)}"
    if not pa.types.is_struct(kind.value_type):
        return f"is a list of {_short(kind.value_type)}"
    names = {kind.value_type.field(i).name for i in range(kind.value_type.num_fields)}
    if not {"role", "content"} <= names:
        return f"is a list of messages with {', '.join(sorted(names))}"
    content = kind.value_type.field("content").type
    if not (_is_text(content) or _is_list(content) or pa.types.is_null(content)):
        return f"has contents of type {content}"
    if not _is_text(kind.value_type.field("role").type):
        return f"has roles of type {kind.value_type.field('role').type}"
    return ""


def _short(kind: Any) -> str:
    text = str(kind)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def scan_column(dataset: SavedDataset, column: str) -> Scan:
    """Scan all rows of a column of messages, whose type was found right."""
    import pyarrow.compute as pc

    scan = Scan()
    for batch in dataset.batches((column,)):
        if batch.num_rows:
            _scan_batch(scan, batch.column(0), pc)
        scan.rows += batch.num_rows
    return scan


def _scan_batch(scan: Scan, column: Any, pc: Any) -> None:
    import pyarrow as pa

    offset = scan.rows
    lengths = pc.list_value_length(column)
    numbers = pa.array(range(len(column)), pa.int64())

    def rows_where(mask: Any) -> Any:
        return pc.filter(numbers, pc.fill_null(mask, False))

    for entry in pc.value_counts(pc.fill_null(lengths, 0)).to_pylist():
        scan.turns[entry["values"]] += entry["counts"]
    scan.null.add(rows_where(pc.is_null(column)), offset)
    scan.empty.add(rows_where(pc.equal(lengths, 0)), offset)

    parents = pc.cast(pc.list_parent_indices(column), pa.int64())
    messages = pc.list_flatten(column)
    role, content = pc.struct_field(messages, "role"), pc.struct_field(messages, "content")
    for entry in pc.value_counts(role).to_pylist():
        name = entry["values"]
        scan.roles[str(name)] += entry["counts"]
        if name is not None and name not in KNOWN_ROLES:
            rows = pc.unique(pc.filter(parents, pc.fill_null(pc.equal(role, name), False)))
            scan.unknown_roles.setdefault(name, Flaw()).add(rows, offset)
    scan.no_role.add(pc.unique(pc.filter(parents, pc.is_null(role))), offset)
    assistant = pc.fill_null(pc.equal(role, "assistant"), False)
    answered = pc.is_in(numbers, value_set=pc.unique(pc.filter(parents, assistant)))
    scan.no_assistant.add(rows_where(pc.and_(pc.greater(lengths, 0), pc.invert(answered))), offset)

    empty = pc.and_(_is_empty(content, pc), pc.is_valid(role))
    answers = pc.and_(pc.and_(empty, assistant), pc.invert(_has_calls(messages, pc)))
    scan.empty_answer.add(pc.unique(pc.filter(parents, answers)), offset)
    others = pc.and_(empty, pc.invert(assistant))
    scan.empty_other.add(pc.unique(pc.filter(parents, others)), offset)


def _is_empty(content: Any, pc: Any) -> Any:
    """Where a content is None, an empty text or an empty list."""
    if _is_text(content.type):
        short = pc.equal(pc.binary_length(content), 0)
    elif _is_list(content.type):
        short = pc.equal(pc.list_value_length(content), 0)
    else:
        return pc.is_null(content)
    return pc.or_(pc.is_null(content), pc.fill_null(short, False))


def _has_calls(messages: Any, pc: Any) -> Any:
    names = [messages.type.field(i).name for i in range(messages.type.num_fields)]
    if "tool_calls" not in names or not _is_list(messages.type.field("tool_calls").type):
        valid = pc.is_valid(messages)
        return pc.and_(valid, pc.invert(valid))  # none has
    calls = pc.struct_field(messages, "tool_calls")
    return pc.fill_null(pc.greater(pc.list_value_length(calls), 0), False)


@dataclass
class RowCheck:
    """What was found in all rows."""

    scans: dict[str, Scan] = field(default_factory=dict)
    """By column of messages."""
    findings: list[Finding] = field(default_factory=list)
    readable: bool = False
    """The columns are of types that the tokenizer can be tried on."""

    @property
    def unknown_roles(self) -> tuple[str, ...]:
        """Roles that are none of the usual, over all columns."""
        return tuple(sorted({role for scan in self.scans.values() for role in scan.unknown_roles}))

    @property
    def suspects(self) -> list[int]:
        """Rows that a template may refuse: the first few with empty contents or unknown roles."""
        flaws = [f for s in self.scans.values() for f in (s.empty_answer, s.empty_other)]
        flaws += [f for s in self.scans.values() for f in s.unknown_roles.values()]
        return sorted({number for flaw in flaws for number in flaw.first})


def check_rows(train: TrainSpec, dataset: SavedDataset) -> RowCheck:
    """Scan all rows, and judge what TRL would do with them.

    Source: what TRL 1.16 does with each was tried; it names no row in any of its errors.
    Raises UserError when a file is damaged.
    """
    columns = choose_columns(dataset.columns).trained
    schema = next((batch.schema for batch in dataset.batches(columns)), None)
    if schema is None or not columns:
        return RowCheck()
    check = RowCheck(readable=True)
    for column in columns:
        kind = schema.field(column).type
        if column != "messages" and _is_text(kind) and not train.assistant_only_loss:
            continue  # plain prompts and completions
        problem = column_problem(kind)
        if problem:
            cure = 'Make it a list of {"role": …, "content": …}: python -m harness data convert'
            check.findings.append(error(PLACE, f"column {column} {problem}", cure))
            check.readable = False
            continue
        check.scans[column] = scan_column(dataset, column)
        check.findings += _column_findings(check.scans[column], column, train.assistant_only_loss)
    return check


def _column_findings(scan: Scan, column: str, assistant_only_loss: bool) -> list[Finding]:
    cure = "Leave these rows out: dataset.filter(…).save_to_disk(NEW_FOLDER). Rows count from 0"
    what = f"column {column}"
    findings = []
    for flaw, text in (
        (scan.null, "without any messages (null): TRL fails on them, naming no row"),
        (scan.empty, "with an empty list of messages: TRL fails on them, naming no row"),
        (scan.no_role, "with a message that has no role"),
    ):
        if flaw.count:
            findings.append(error(PLACE, f"{what}: {flaw} {text}", cure))
    if scan.no_assistant.count and assistant_only_loss and column != "prompt":
        text = "without an assistant's turn: with assistant_only_loss TRL fails, naming no row"
        findings.append(error(PLACE, f"{what}: {scan.no_assistant} {text}", cure))
    if scan.empty_answer.count:
        text = "with an empty answer of the assistant: they train to stop at once"
        findings.append(warning(PLACE, f"{what}: {scan.empty_answer} {text}", cure))
    if scan.empty_other.count:
        text = "with an empty message of another role"
        findings.append(warning(PLACE, f"{what}: {scan.empty_other} {text}", cure))
    return findings
