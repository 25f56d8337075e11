"""Rows of JSONL files: each whole on one line, whatever its text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.runs.rows import append, json_line, json_lines
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
