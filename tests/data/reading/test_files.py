"""Rows of every kind of file, and the place of each."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.data.reading.files import kind_of, members_of, read_rows
from harness.data.tally import BadRow
from harness.errors import UserError

ROWS = [{"prompt": f"q{i} é", "completion": f"a\n{i}"} for i in range(3)]
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)


def values(path: Path) -> list[Any]:
    return [row for _, row in read_rows(path)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", LINES), ("a.ndjson", LINES), ("lines.json", LINES),
        ("list.json", json.dumps(ROWS)), ("indented.json", json.dumps(ROWS, indent=2)),
        ("list.jsonl", json.dumps(ROWS, indent=1)),
        ("spread.json", "\n".join(json.dumps(row, indent=2) for row in ROWS)),
        ("crlf.jsonl", LINES.replace("\n", "\r\n\r\n")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_of_any_layout_and_encoding(
    name: str, text: str, encoding: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert values(tmp_path / name) == ROWS


def _zst(path: Path, data: bytes) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        file.write(data)


@pytest.mark.parametrize(
    ("ending", "write"),
    [
        (".gz", lambda path, data: path.write_bytes(gzip.compress(data))),
        (".bz2", lambda path, data: path.write_bytes(bz2.compress(data))),
        (".xz", lambda path, data: path.write_bytes(lzma.compress(data))),
        (".zst", _zst),
    ],
)
def test_compressed_files_are_read_and_torn_ones_told(
    ending: str, write: Callable[[Path, bytes], object], tmp_path: Path
) -> None:
    path = tmp_path / f"a.jsonl{ending}"
    write(path, LINES.encode())
    assert kind_of(path) == ".jsonl"
    assert values(path) == ROWS
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UserError, match="cannot be read"):
        values(path)


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.csv", 'question,answer\r\n"a, ""b""\r\nc",d\r\n', [{"question": 'a, "b"\r\nc', "answer": "d"}]),
        ("a.csv", "question;answer\na,b;c\n", [{"question": "a,b", "answer": "c"}]),
        ("a.tsv", "question\tanswer\na;b\tc\n", [{"question": "a;b", "answer": "c"}]),
        ("a.csv", " question ,answer\na,\n", [{"question": "a", "answer": ""}]),
    ],
)  # fmt: skip
def test_tables_of_text(name: str, text: str, rows: list[Any], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8-sig"))
    assert values(tmp_path / name) == rows


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"question,answer,answer\na,b,c\n", "two columns are called 'answer'"),
        ("a.csv", "question,answer\nWas?,Schön\n".encode("latin-1"), "iconv -f WINDOWS-1252"),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.json", b'[{"a": 1}, {"a": ', "a.json: row 2: not JSON"),
        ("a.arrow", b"nothing", "cannot be read"),
    ],
)
def test_a_file_that_is_not_what_it_seems(
    name: str, data: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=words):
        values(tmp_path / name)


def test_places_are_lines_or_rows_and_a_bad_line_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n\n{"a": 1, "a": 2}\n{"a": "\xff"}\n')
    found = list(read_rows(tmp_path / "a.jsonl"))
    assert [place for place, _ in found] == ["1", "3", "4"]
    assert [str(row) for _, row in found[1:]] == [
        "it has the field 'a' twice", "not UTF-8: invalid start byte (byte 8 of the line)"
    ]  # fmt: skip
    assert all(isinstance(row, BadRow) for _, row in found[1:])
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert [place for place, _ in read_rows(tmp_path / "a.parquet")] == ["row 1", "row 2", "row 3"]


def test_lists_in_an_object_are_its_members_and_a_row_has_none(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"version": 1, "train": ROWS, "test": ROWS[:1], "tags": ["x"]}))
    assert members_of(file) == {("train",): 3, ("test",): 1}
    assert list(read_rows(file, ("test",))) == [("test, row 1", ROWS[0])]
    file.write_text(json.dumps({"data": {"train": ROWS, "val": ROWS[:2]}}))
    assert members_of(file) == {("data", "train"): 3, ("data", "val"): 2}
    assert [row for _, row in read_rows(file, ("data", "val"))] == ROWS[:2]
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    file.write_text(json.dumps({"id": 1, "tags": [{"x": 1}], "messages": turns}, indent=1))
    assert members_of(file) == {}
    assert [row["messages"] for row in values(file)] == [turns]
    file.write_text(json.dumps([turns, turns]))
    assert values(file) == [turns, turns]


def test_structs_lose_the_keys_of_other_rows_and_json_columns_keep_theirs(tmp_path: Path) -> None:
    rows = [{"tools": [{"name": "a", "city": "x"}]}, {"tools": [{"name": "b", "day": 1}]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == rows
    kept = pa.array(['{"city": null}', None], pa.string())
    table = pa.table({"tools": pa.ExtensionArray.from_storage(pa.json_(pa.string()), kept)})
    pq.write_table(table, tmp_path / "b.parquet")
    assert values(tmp_path / "b.parquet") == [{"tools": {"city": None}}, {"tools": None}]
