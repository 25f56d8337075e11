"""Rows of one file, each with its place: JSON, JSON lines, CSV, parquet, compressed or not."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from harness.data.pairs import ANSWERS, ASKS, TURNS
from harness.data.reading.arrow import rows_of
from harness.data.reading.json_text import JsonText, unique
from harness.data.tally import BadRow
from harness.errors import UserError, reason

KINDS = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv", ".arrow")
PACKED = (".gz", ".zst", ".bz2", ".xz")
Row = tuple[str, Any]
"""Place (a line, or `row 3`, from 1) and value; the value is a BadRow where a line is no JSON."""
_BATCH = 256
"""Rows at a time: small, as one may be megabytes."""
_POINTER = b"version https://git-lfs"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def kind_of(path: Path) -> str:
    """`.jsonl` of `a.jsonl.gz`; empty for what is no file of rows."""
    name = path.name.lower()
    for ending in PACKED:
        name = name.removesuffix(ending)
    return next((kind for kind in KINDS if name.endswith(kind)), "")


def read_rows(path: Path, member: tuple[str, ...] = ()) -> Iterator[Row]:
    """The rows of a file; `member` names the list within a JSON file (see `members_of`).

    Raises UserError for a file that cannot be read.
    """
    try:
        _refuse_pointer(path)
        kind = kind_of(path)
        if kind == ".parquet":
            yield from _parquet(path)
        elif kind == ".arrow":
            yield from _arrow(path)
        elif kind in (".csv", ".tsv"):
            yield from _csv(path, kind)
        else:
            yield from _json(path, kind, member)
    except UserError:
        raise
    except UnicodeDecodeError as error:
        cure = f"Write it as UTF-8: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > NEW"
        raise UserError.at(path, f"cannot be read: {reason(error)}", cure) from None
    except (OSError, EOFError, csv.Error, lzma.LZMAError, ValueError) as error:
        raise UserError.at(path, f"cannot be read: {error}") from None


def members_of(path: Path) -> dict[tuple[str, ...], int]:
    """The lists of rows that a JSON file wraps in an object, with their lengths.

    Empty where the file is a list, lines, or an object that is a row itself. Raises UserError.
    """
    if kind_of(path) != ".json":
        return {}
    try:
        with _text(path) as file:
            text = JsonText(file)
            if text.peek() != "{":
                return {}
            found: dict[tuple[str, ...], int] = {}
            for name in text.members():
                if name in (*TURNS, *ASKS, *ANSWERS):
                    return {}
                if text.peek() == "[":
                    kinds = [isinstance(item, dict | list) for item in text.items()]
                    if kinds and all(kinds):
                        found[(name,)] = len(kinds)
                else:
                    found |= _inner(name, text.value())
            return {} if text.peek() else found
    except ValueError:
        return {}  # reading the rows will say what is wrong
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise UserError.at(path, f"cannot be read: {error}") from None


def _inner(name: str, value: Any) -> dict[tuple[str, ...], int]:
    if not isinstance(value, dict) or any(key in (*TURNS, *ASKS, *ANSWERS) for key in value):
        return {}
    lists = {key: each for key, each in value.items() if isinstance(each, list) and each}
    return {(name, key): len(each) for key, each in lists.items() if isinstance(each[0], dict)}


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            cure = "Fetch what it stands for: git lfs pull, or hf download"
            raise UserError.at(path, "is a pointer of Git LFS, not the data", cure)


def _open(path: Path) -> IO[bytes]:
    name = path.name.lower()
    if name.endswith(".gz"):
        return io.BufferedReader(gzip.open(path, "rb"))
    if name.endswith(".bz2"):
        return bz2.open(path, "rb")
    if name.endswith(".xz"):
        return lzma.open(path, "rb")
    if name.endswith(".zst"):
        import pyarrow as pa

        return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def _text(path: Path) -> IO[str]:
    with _open(path) as file:
        encoding = "utf-16" if file.read(2) in _UTF16 else "utf-8-sig"
    return io.TextIOWrapper(_open(path), encoding=encoding, newline="")


def _json(path: Path, kind: str, member: tuple[str, ...]) -> Iterator[Row]:
    with _text(path) as file:
        text = JsonText(file)
        first = _first(text)
        if first == "[":
            yield from _array(text, path)
            return
    if member:
        yield from _member(path, member)
    elif kind == ".json" and first == "{" and not _is_lines(path):
        with _text(path) as file:
            yield from _objects(JsonText(file), path)
    else:
        yield from _lines(path)


def _first(text: JsonText) -> str:
    try:
        return text.peek()
    except UnicodeDecodeError:
        return ""  # the line will be named


def _is_lines(path: Path) -> bool:
    """Whether a line is a value: not where values span lines, nor for a whole file in one line."""
    try:
        with _text(path) as file:
            text = JsonText(file)
            text.value()
            return not text.spans_lines and bool(text.peek())
    except ValueError:
        return True


def _array(text: JsonText, path: Path) -> Iterator[Row]:
    """The elements; where they are turns, each array is a chat."""
    number = 0
    try:
        while text.peek():
            items = text.items()
            first = next(items, None)
            if isinstance(first, dict) and {"role", "from"} & set(first):
                number += 1
                yield f"row {number}", [first, *items]
                continue
            if first is not None:
                number += 1
                yield f"row {number}", first
            for item in items:
                number += 1
                yield f"row {number}", item
    except ValueError as error:
        raise UserError.at(f"{path}: row {number + 1}", f"not JSON: {error}") from None


def _objects(text: JsonText, path: Path) -> Iterator[Row]:
    number = 0
    try:
        while text.peek():
            number += 1
            yield f"row {number}", text.value()
    except ValueError as error:
        raise UserError.at(f"{path}: row {number}", f"not JSON: {error}") from None


def _member(path: Path, member: tuple[str, ...]) -> Iterator[Row]:
    with _text(path) as file:
        text = JsonText(file)
        for name in text.members():
            if name == member[0] and len(member) == 1:
                for number, item in enumerate(text.items(), 1):
                    yield f"{name}, row {number}", item
            elif name == member[0]:
                for number, item in enumerate(text.value()[member[1]], 1):
                    yield f"{'.'.join(member)}, row {number}", item
            else:
                text.value()


def _lines(path: Path) -> Iterator[Row]:
    with _open(path) as probe:
        wide = probe.read(2) in _UTF16
    if wide:
        with _text(path) as texts:
            lines = (line.encode("utf-8", "surrogatepass") for line in texts)
            yield from _json_lines(lines)
    else:
        with _open(path) as file:
            yield from _json_lines(iter(file))


def _json_lines(lines: Iterator[bytes]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row: Any
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            row = json.loads(text, object_pairs_hook=unique)
        except UnicodeDecodeError as error:
            row = BadRow(f"not UTF-8: {error.reason} (byte {error.start + 1} of the line)")
        except RecursionError:
            row = BadRow("not JSON that can be read: nested too deeply")
        except json.JSONDecodeError as error:
            row = BadRow(f"not JSON: {error}")
        except ValueError as error:
            row = BadRow(str(error))
        yield str(number), row


def _csv(path: Path, kind: str) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)
    with _text(path) as file:
        header = file.readline()
        file.seek(0)
        delimiter = "\t" if kind == ".tsv" else max(",;\t", key=header.count)
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        names = [name.strip() for name in reader.fieldnames or ()]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError.at(path, f"two columns are called {twice[0]!r}: rename one")
        reader.fieldnames = names
        for row in reader:
            yield str(reader.line_num), row


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in rows_of(batch):
                    number += 1
                    yield f"row {number}", row
    except pa.ArrowException as error:
        raise UserError.at(path, f"cannot be read: {error}") from None


def _arrow(path: Path) -> Iterator[Row]:
    import pyarrow as pa

    number = 0
    try:
        with pa.memory_map(str(path)) as source:
            for batch in pa.ipc.open_stream(source):
                for row in rows_of(batch):
                    number += 1
                    yield f"row {number}", row
    except pa.ArrowException as error:
        raise UserError.at(path, f"cannot be read: {error}") from None
