"""Rows of JSONL files: each whole on one line, whatever its text; read in spite of damage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.runs.rows import append, json_line, json_lines, open_append, readable, row_at
from tests.support import ROOT


@pytest.mark.parametrize(
    "text",
    ["a\nb\r\nc", "\u2028\u2029\x85", "naïve 中文 🙂", '"\\', "\x00\x1f", "\ud83d", ""],
    ids=["line ends", "separators", "unicode", "quotes", "control", "half a pair", "empty"],
)
def test_a_row_is_one_line_and_comes_back_as_it_was(text: str) -> None:
    row = {text: text, "n": [None, 0, 1.5, False]}
    line = json_line(row)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line.decode("utf-8")) == row


def test_text_stays_readable_and_only_half_a_pair_is_escaped() -> None:
    assert json_line({"a": "中🙂"}) == '{"a": "中🙂"}\n'.encode()
    assert json_line({"a": "\ud83d"}) == b'{"a": "\\ud83d"}\n'


def test_a_whole_file_is_its_rows_in_their_order() -> None:
    assert json_lines([]) == ""
    assert json_lines({"i": i} for i in (2, 1)) == '{"i": 2}\n{"i": 1}\n'


def test_an_appended_row_has_left_the_process_with_its_bytes_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"i": 0}\n')
    with path.open("ab") as file:
        written = append(file, {"t": "é"})
        assert path.read_bytes() == b'{"i": 0}\n' + b'{"t": "\xc3\xa9"}\n'  # not closed yet
    assert written == len(b'{"t": "\xc3\xa9"}\n')


def test_only_what_shall_be_on_the_disk_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with (tmp_path / "rows.jsonl").open("ab") as file:
        append(file, {})
        assert synced == []
        append(file, {}, to_disk=True)
        assert synced == [file.fileno()]


def test_processes_that_append_at_once_tear_no_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    program = (
        "import sys\nfrom harness.runs.rows import append\n"
        "with open(sys.argv[1], 'ab') as file:\n"
        "    for i in range(200): append(file, {'who': sys.argv[2], 'i': i, 't': 'x' * 500})"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(path), who], cwd=ROOT) for who in "ab"
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    for who in "ab":
        assert [row["i"] for row in rows if row["who"] == who] == list(range(200))


def test_a_row_that_is_no_json_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("ab") as file, pytest.raises(TypeError):
        append(file, {"a": object()})
    assert path.read_bytes() == b""


A, B, C = ({"id": name, "t": 'ü 🙂 {"id": 1}'} for name in "abc")
LINES = [json_line(row) for row in (A, B, C)]
DAMAGED = {
    "NUL bytes": b"\x00" * 4096 + b"\n",
    "cut": LINES[1][:9] + b"\n",
    "cut inside a character": LINES[1][:16] + b"\n",
    "no UTF-8": LINES[1].replace(b"t", b"\xff") + b"\n",
    "a list": b"[1, 2]\n",
    "deep": b"[" * 100_000 + b"\n",
    "words": b"Traceback (most recent call last):\n",
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_damaged_line_costs_no_other(tmp_path: Path, name: str, place: int) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [LINES[0], LINES[2]]
    lines.insert(place, DAMAGED[name])
    path.write_bytes(b"".join(lines))
    found = list(readable(path))
    assert [row for _, row in found if row] == [A, C]
    assert [row for _, row in found].count(None) == 1
    with path.open("rb") as file:
        assert [row_at(file, offset) for offset, row in found if row] == [A, C]


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        (b"\x00" * 100 + LINES[0], [A]),  # blocks that never reached the disk, then a row
        (LINES[1][:9] + LINES[0], [A]),
        (LINES[1][:9] + LINES[0][:-1] + b"\x00\x00" + LINES[2], [A, C]),
        (LINES[0][:-1] + LINES[2], [A, C]),
        (LINES[0][:-1] + b"\xff" + LINES[2], [A, C]),
        (LINES[1].replace(b"t", b"\xff")[:-1] + LINES[2], [C]),
    ],
)
def test_whole_rows_on_a_damaged_line_are_read(
    tmp_path: Path, line: bytes, rows: list[dict[str, str]]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES[1] + line)
    found = list(readable(path))
    assert [row for _, row in found if row] == [B, *rows]
    assert sum(row is None for _, row in found) == 1
    with path.open("rb") as file:
        assert [row_at(file, offset) for offset, row in found if row] == [B, *rows]


def test_blank_lines_and_no_lines_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n \n" + LINES[0])
    assert [row for _, row in readable(path)] == [A]
    path.write_bytes(b"")
    assert list(readable(path)) == []


@pytest.mark.parametrize("before", [b"", LINES[0], LINES[0][:-1], LINES[0] + b'{"id": "b'])
def test_what_is_appended_stands_on_a_line_of_its_own_and_nothing_is_cut(
    tmp_path: Path, before: bytes
) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    if before:
        path.parent.mkdir()
        path.write_bytes(before)
    with open_append(path) as file:
        append(file, C)
    text = path.read_bytes()
    assert text.startswith(before)
    assert text.endswith(b"\n" + LINES[2]) or text == LINES[2]
    assert [row for _, row in readable(path) if row][-1] == C
