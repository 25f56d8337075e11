"""One pass over all rows; what is said of them: tests/preflight/rows/test_contents.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.chats.dataset import read_saved_dataset
from harness.preflight.rows.scan import Scanned, holds, scan_rows
from tests.preflight.support import saved_dataset, turn

TURN = pa.struct([("role", pa.string()), ("content", pa.string()), ("thinking", pa.string())])
PARTS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.list_(pa.struct(
    [("type", pa.string()), ("text", pa.string())])))]))  # fmt: skip


def scanned(folder: Path, rows: Any, kind: Any = pa.list_(TURN)) -> Scanned:
    saved_dataset(folder / "d", messages=rows, kind=kind)
    dataset = read_saved_dataset(folder / "d", "train")
    return scan_rows(dataset, ("messages",), ("messages",), ())


def test_system_turns_and_fields_that_hold_values_are_counted(tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be brief."}
    thinking = {"role": "assistant", "content": "x", "thinking": "T"}
    none = {"role": "assistant", "content": "x", "thinking": ""}
    found = scanned(tmp_path, [[system, thinking], turn(), [none], [thinking], turn(), [system]])
    scan = found.scans["messages"]
    assert (scan.system.count, scan.system.first) == (2, [0, 5])
    assert (scan.fields["thinking"].count, scan.fields["thinking"].first) == (2, [0, 3])
    assert scan.rows == 6


def test_blank_answers_are_empty_whatever_their_form(tmp_path: Path) -> None:
    rows = [turn(), turn(answer=" \n\n "), turn(answer="\t"), turn(question=" ")]
    scan = scanned(tmp_path / "text", rows).scans["messages"]
    assert (scan.empty_answer.first, scan.empty_other.first) == ([1, 2], [3])

    def parts(*texts: str | None) -> Any:
        of = [{"type": "text", "text": text} for text in texts]
        return [{"role": "user", "content": [{"type": "text", "text": "?"}]},
                {"role": "assistant", "content": of}]  # fmt: skip

    rows = [parts("x"), parts(" ", "\n"), parts(), parts(None), parts(" ", "x")]
    scan = scanned(tmp_path / "parts", rows, PARTS).scans["messages"]
    assert scan.empty_answer.first == [1, 2, 3]


def test_what_holds_something() -> None:
    assert holds(pa.array(["", "x", None])).tolist() == [False, True, False]
    assert holds(pa.array([[], [1], None])).tolist() == [False, True, False]
    assert holds(pa.array([{"a": None}, {"a": 1}, None])).tolist() == [False, True, False]
    assert holds(pa.array([0, None])).tolist() == [True, False]
