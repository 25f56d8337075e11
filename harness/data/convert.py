"""Files of chats in any usual shape -> a dataset to train on, in flat memory, whole or not at all."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.pairs import Columns
from harness.data.reading.sources import Found, Source, find_sources
from harness.data.replace import check_replaceable, put
from harness.data.shapes import Chat, to_chat
from harness.data.tally import BadRow, Tally
from harness.data.writing import ChatWriter
from harness.errors import UserError

_SHOWN = 10
_PROGRESS_S = 2.0
_MANY = 50_000
"""Rows whose writing takes a while."""
Report = Callable[[str], None]


@dataclass
class Outcome:
    """What became of the rows."""

    rows: int = 0
    bad: int = 0
    examples: list[str] = field(default_factory=list)
    """The first bad rows: `file:line: why`."""
    splits: Counter[str] = field(default_factory=Counter)
    """Rows by split; empty where there is none."""
    files: Counter[str] = field(default_factory=Counter)
    """Good rows by file or saved split."""
    ignored: list[str] = field(default_factory=list)
    """Files of the folders that are no rows."""
    notes: list[str] = field(default_factory=list)
    first: dict[str, Any] | None = None
    """The first row, as it is made."""
    tally: Tally = field(default_factory=Tally)

    def facts(self) -> dict[str, Any]:
        """For a script."""
        own = {name: value for name, value in vars(self).items() if name != "tally"}
        return {"schema_version": 1, **own, **vars(self.tally)}


def convert(
    words: Sequence[str | Path], target: Path, *, skip_bad: bool = False, force: bool = False,
    dry_run: bool = False, subset: str | None = None, columns: Columns = Columns(),
    report: Report,
) -> Outcome:  # fmt: skip
    """Write `target`, a dataset with `messages`, of files, folders and globs.

    With `dry_run` all rows are read and nothing is written. Raises UserError for what cannot be
    read, for bad rows (unless `skip_bad`), and for a target that exists (unless `force`).
    """
    found = find_sources([str(word) for word in words], subset)
    if target.exists() and not force and not dry_run:
        raise UserError.at(target, "exists already; choose another folder, or --force")
    check_replaceable(target)
    name = ", ".join(map(str, words))
    if dry_run:
        return _checked(_take(found, None, columns, report), name, skip_bad)
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    try:
        outcome, made = write(found, partial, name, skip_bad, columns, report)
        put(made, target)
    except OSError as error:
        raise UserError.at(target, f"cannot be written: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return outcome


def write(
    found: Found, partial: Path, name: str, skip_bad: bool, columns: Columns, report: Report
) -> tuple[Outcome, Path]:
    """The outcome, and the folder of a dataset within `partial`. Raises UserError and OSError."""
    import pyarrow as pa

    try:
        with ChatWriter(partial) as writer:
            outcome = _checked(_take(found, writer, columns, report), name, skip_bad)
            if outcome.rows > _MANY:
                report(f"writing {outcome.rows:,} rows")
            return outcome, writer.finish()
    except pa.ArrowException as error:
        raise UserError.at(partial, f"cannot be written: {error}") from None


def _take(found: Found, writer: ChatWriter | None, columns: Columns, report: Report) -> Outcome:
    outcome = Outcome(ignored=list(found.ignored), notes=list(found.notes))
    said = time.monotonic()
    for source in found.sources:
        outcome.files[source.label] += 0
        for place, row in source.rows():
            _take_row(source, place, row, outcome, writer, columns)
            if time.monotonic() - said > _PROGRESS_S:
                said = time.monotonic()
                report(f"{outcome.rows + outcome.bad:,} rows read")
    return outcome


def _take_row(
    source: Source, place: str, row: Any, outcome: Outcome, writer: ChatWriter | None,
    columns: Columns,
) -> None:  # fmt: skip
    try:
        if isinstance(row, BadRow):
            raise row
        chat = to_chat(row, columns)
        if writer is not None:
            writer.add(source.split, chat)
    except BadRow as why:
        outcome.bad += 1
        if len(outcome.examples) < _SHOWN:
            text = str(why).encode(errors="backslashreplace").decode()
            where = f"{source.label}:{place}" if place.isdigit() else f"{source.label}: {place}"
            outcome.examples.append(f"{where}: {text}")
        return
    outcome.rows += 1
    outcome.files[source.label] += 1
    if source.split is not None:
        outcome.splits[source.split] += 1
    outcome.tally.add(chat.notes)
    if outcome.first is None:
        outcome.first = _shown(chat)


def _shown(chat: Chat) -> dict[str, Any]:
    return {"messages": chat.messages, **({"tools": chat.tools} if chat.tools else {})}


def _checked(outcome: Outcome, name: str, skip_bad: bool) -> Outcome:
    if outcome.bad and not skip_bad:
        raise UserError(_refusal(name, outcome))
    if outcome.rows == 0:
        raise UserError.at(name, "no row in it can be trained on")
    return outcome


def _refusal(name: str, outcome: Outcome) -> str:
    shown = "\n".join(f"  {line}" for line in outcome.examples)
    more = outcome.bad - len(outcome.examples)
    rest = f"\n  and {more:,} more" if more else ""
    return (
        f"{name}: {outcome.bad:,} of {outcome.rows + outcome.bad:,} rows are bad:\n{shown}{rest}\n"
        "Mend them, or leave them out with --skip-bad. Nothing was written."
    )


def described(outcome: Outcome, folder: str, done: bool = True) -> Iterable[str]:
    """Lines for a person: rows, files, and what became of each field."""
    splits = ", ".join(f"{name} {count:,}" for name, count in outcome.splits.items())
    left = f", {outcome.bad:,} bad rows left out" if outcome.bad else ""
    would = "" if done else "would hold "
    yield f"{folder}: {would}{outcome.rows:,} rows{f' ({splits})' if splits else ''}{left}"
    if len(outcome.files) > 1:
        yield "  from: " + ", ".join(f"{name} {count:,}" for name, count in outcome.files.items())
    for line in outcome.tally.lines():
        yield f"  {line}"
    if outcome.ignored:
        more = ", …" if len(outcome.ignored) > _SHOWN else ""
        yield f"  files that are no rows: {', '.join(outcome.ignored[:_SHOWN])}{more}"
    for note in outcome.notes:
        yield f"  note: {note}"
