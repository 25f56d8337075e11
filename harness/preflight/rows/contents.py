"""What every row of a dataset holds: roles and contents, judged by what training does with them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from harness.chats.dataset import SavedDataset, choose_columns
from harness.chats.rows import is_json, is_list
from harness.config.training.train import TrainSpec
from harness.preflight.findings import Finding, error, warning
from harness.preflight.rows.scan import Flaw, Scan, scan_rows
from harness.preflight.rows.shapes import TRIED, Shapes

PLACE = "train.dataset_name"
_TELLING = re.compile(
    r"function|tool|call|think|thought|reason|system|weight|mask|instruction|history|document", re.I
)
"""Names of columns that somebody may expect to be trained."""


def column_problem(kind: Any) -> str:
    """Why an Arrow type is no column of messages; empty when it is one."""
    import pyarrow as pa

    if is_json(kind) or (is_list(kind) and is_json(kind.value_type)):
        return ""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return f"is {_short(kind)}"
    if not pa.types.is_struct(kind.value_type):
        return f"is a list of {_short(kind.value_type)}"
    names = {kind.value_type.field(i).name for i in range(kind.value_type.num_fields)}
    if not {"role", "content"} <= names:
        return f"is a list of messages with {', '.join(sorted(names))}"
    content = kind.value_type.field("content").type
    if not (is_text(content) or is_list(content) or is_json(content) or pa.types.is_null(content)):
        return f"has contents of type {content}"
    if not is_text(kind.value_type.field("role").type):
        return f"has roles of type {kind.value_type.field('role').type}"
    return ""


def _short(kind: Any) -> str:
    text = str(kind)
    return text if len(text) <= 60 else f"{text[:57]}…"


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is text."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


@dataclass
class RowCheck:
    """What was found in all rows."""

    scans: dict[str, Scan] = field(default_factory=dict)
    """By column of messages."""
    findings: list[Finding] = field(default_factory=list)
    readable: bool = False
    """The columns are of types that the tokenizer can be tried on."""
    held: dict[str, Flaw] = field(default_factory=dict)
    """Of each further field of a turn, and of each column beside: rows in which it holds a value."""
    shapes: Shapes = field(default_factory=Shapes)

    @property
    def unknown_roles(self) -> tuple[str, ...]:
        """Roles that are none of the usual, over all columns."""
        return tuple(sorted({role for scan in self.scans.values() for role in scan.unknown_roles}))

    @property
    def system(self) -> int:
        """Rows with a system turn."""
        return sum(scan.system.count for scan in self.scans.values())

    @property
    def suspects(self) -> list[int]:
        """Rows that a template may refuse: the first few with empty contents or unknown roles, and
        one of each shape of rows."""
        flaws = [f for s in self.scans.values() for f in (s.empty_answer, s.empty_other)]
        flaws += [f for s in self.scans.values() for f in s.unknown_roles.values()]
        return sorted({n for flaw in flaws for n in flaw.first} | set(self.shapes.rarest()))

    @property
    def untried(self) -> int:
        """Shapes of rows of which none is tried."""
        return max(len(self.shapes) - TRIED, 0)


def check_rows(train: TrainSpec, dataset: SavedDataset) -> RowCheck:
    """Scan all rows, and judge what training would do with them.

    Source: what TRL 1.16 does with each was tried; it names no row in any of its errors.
    Raises UserError when a file is damaged.
    """
    columns = choose_columns(dataset.columns)
    schema = next((batch.schema for batch in dataset.batches()), None)
    if schema is None or not columns.trained:
        return RowCheck()
    check, messages = RowCheck(readable=True), []
    for column in columns.trained:
        kind = schema.field(column).type
        if column != "messages" and is_text(kind) and not train.assistant_only_loss:
            continue  # plain prompts and completions
        if problem := column_problem(kind):
            cure = 'Make it a list of {"role": …, "content": …}: python -m harness data convert'
            check.findings.append(error(PLACE, f"column {column} {problem}", cure))
            check.readable = False
            continue
        messages.append(column)
    telling = tuple(c for c in columns.dropped if _TELLING.search(c) and c in schema.names)
    shaped = columns.read if check.readable else ()
    done = scan_rows(dataset, tuple(messages), shaped, (*columns.beside, *telling))
    check.scans, check.shapes = done.scans, done.shapes
    check.held = {c: flaw for c, flaw in done.columns.items() if c in columns.beside}
    for column, scan in check.scans.items():
        check.held |= scan.fields
        check.findings += _column_findings(scan, column, train.assistant_only_loss)
    for column in telling:
        if done.columns[column].count:
            text = f"column {column} is not trained: {done.columns[column]} hold a value in it"
            check.findings.append(warning(PLACE, text, _TO_MESSAGES))
    return check


_TO_MESSAGES = "What is to be trained must stand in messages, tools or chat_template_kwargs"


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
