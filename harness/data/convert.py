"""A file of chats in any usual shape -> a dataset to train on, in flat memory."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.data.replace import check_replaceable, put
from harness.data.turns import BadRow, to_messages
from harness.errors import UserError

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet", ".csv")
_SHOWN = 10
_PROGRESS_S = 2.0
Report = Callable[[str], None]


@dataclass
class Outcome:
    """What became of the rows of a file."""

    rows: int = 0
    bad: int = 0
    examples: list[str] = field(default_factory=list)
    """The first bad rows: `file:line: why`."""


def convert(source: Path, target: Path, *, skip_bad: bool, force: bool, report: Report) -> Outcome:
    """Write `target`, a dataset with a `messages` column, whole or not at all.

    Raises UserError for a file that cannot be read, for bad rows (unless `skip_bad`), and for a
    target that exists (unless `force`).
    """
    kind = next(
        (s for s in sorted(SUFFIXES, key=len, reverse=True) if source.name.endswith(s)), None
    )
    if not source.is_file():
        raise UserError.at(source, "no such file")
    if kind is None:
        raise UserError.at(source, f"unknown kind of file; known: {', '.join(SUFFIXES)}")
    if target.exists() and not force:
        raise UserError.at(target, "exists already; choose another folder, or --force")
    check_replaceable(target)
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    outcome = Outcome()
    try:
        _write(_chats(source, kind, outcome, report), partial)
        if outcome.bad and not skip_bad:
            raise UserError(_refusal(source, outcome))
        if outcome.rows == 0:
            raise UserError.at(source, "no row in it can be trained on")
        put(partial / "dataset", target)
    except OSError as error:
        raise UserError.at(target, f"cannot be written: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return outcome


def _refusal(source: Path, outcome: Outcome) -> str:
    shown = "\n".join(f"  {line}" for line in outcome.examples)
    more = outcome.bad - len(outcome.examples)
    rest = f"\n  and {more} more" if more else ""
    return (
        f"{source}: {outcome.bad} of {outcome.rows + outcome.bad} rows are bad:\n{shown}{rest}\n"
        "Mend them, or leave them out with --skip-bad. Nothing was written."
    )


def _chats(source: Path, kind: str, outcome: Outcome, report: Report) -> Iterator[dict[str, Any]]:
    said = time.monotonic()
    for place, row in _rows(source, kind):
        try:
            if isinstance(row, BadRow):
                raise row
            if not isinstance(row, dict):
                raise BadRow(f"it is {type(row).__name__}; an object is expected")
            chat = {"messages": to_messages(row)}
        except BadRow as reason:
            outcome.bad += 1
            if len(outcome.examples) < _SHOWN:
                text = str(reason).encode(errors="backslashreplace").decode()
                outcome.examples.append(f"{source}:{place}: {text}")
            continue
        outcome.rows += 1
        yield chat
        if time.monotonic() - said > _PROGRESS_S:
            said = time.monotonic()
            report(f"{outcome.rows:,} rows")


def _rows(source: Path, kind: str) -> Iterator[tuple[int, Any]]:
    """(line or row number, value) of each row; a BadRow where a line is no JSON."""
    try:
        if kind == ".parquet":
            yield from _parquet_rows(source)
        elif kind == ".csv":
            csv.field_size_limit(sys.maxsize)
            with source.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                for row in reader:
                    yield reader.line_num, row
        elif kind == ".json":
            yield from _json_rows(source)
        elif kind == ".jsonl.gz":
            with gzip.open(source, "rb") as lines:
                yield from _lines(lines)
        else:
            with source.open("rb") as lines:
                yield from _lines(lines)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise UserError.at(source, f"cannot be read: {error}") from None


def _lines(lines: Iterable[bytes]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            row = BadRow(f"not UTF-8: {error.reason} (byte {error.start + 1} of the line)")
        except ValueError as error:
            row = BadRow(f"not JSON: {error}")
        except RecursionError:
            row = BadRow("not JSON that can be read: nested too deeply")
        yield number, row


def _json_rows(source: Path) -> Iterator[tuple[int, Any]]:
    try:
        value = json.loads(source.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        with source.open("rb") as lines:  # many .json files hold lines
            yield from _lines(lines)
        return
    yield from enumerate(value if isinstance(value, list) else [value], 1)


def _parquet_rows(source: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(source) as file:
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pa.ArrowException as error:
        raise UserError.at(source, f"cannot be read: {error}") from None


def _write(chats: Iterator[dict[str, Any]], partial: Path) -> None:
    import pyarrow as pa
    from datasets import Dataset, Features, List, Value, disable_progress_bars
    from datasets.arrow_writer import ArrowWriter

    disable_progress_bars()  # lines of progress are printed as rows are read

    turn = {"role": Value("string"), "content": Value("string")}
    features = Features({"messages": List(turn)})
    partial.mkdir(parents=True)
    path = partial / "rows.arrow"
    writer = ArrowWriter(path=str(path), features=features, writer_batch_size=1000)
    for chat in chats:
        writer.write(chat)
    if writer.finalize()[0] == 0:
        return
    try:
        Dataset.from_file(str(path)).save_to_disk(partial / "dataset")
    except pa.ArrowException as error:
        raise UserError.at(partial, f"cannot be written: {error}") from None
