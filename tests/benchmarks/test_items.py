"""A benchmark's items in flat memory: which lines count, in what order, and what is no item."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from harness.benchmarks.items import ItemFile

HOSTILE = ['it\'s "a" b', "line\nbreak", "Ünï🙂\u2028", "", "a/../b"]


def write(path: Path, *lines: str) -> Path:
    path.write_bytes("".join(lines).encode())
    return path


def numbered(path: Path, count: int) -> Path:
    return write(path, *(json.dumps({"id": f"n/{i}", "n": i}) + "\n" for i in range(count)))


def test_items_come_in_the_files_order_by_number_and_one_by_one(tmp_path: Path) -> None:
    items = ItemFile(numbered(tmp_path / "i.jsonl", 5))
    assert [item["n"] for item in items] == [0, 1, 2, 3, 4]
    assert [items[i]["n"] for i in (3, 0, -1, -5)] == [3, 0, 4, 0]
    assert [item["n"] for item in items[1:4]] == [1, 2, 3]
    assert [item["n"] for item in items[::-2]] == [4, 2, 0]
    assert items[9:] == []
    with pytest.raises(IndexError):
        items[5]
    assert [item["n"] for item in items] == [0, 1, 2, 3, 4]  # a second time, too


def test_ids_and_text_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [{"id": text, "question": text} for text in HOSTILE]
    plain = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    items = ItemFile(write(tmp_path / "a b's.jsonl", *plain))
    assert list(items) == [items[i] for i in range(len(rows))] == rows
    assert items.total == items.different == len(rows)


def test_empty_lines_and_a_missing_last_line_break_change_nothing(tmp_path: Path) -> None:
    lines = ("\n", '{"id": "a"}\n', "  \t\n", '{"id": "b"}\r\n', "\n", '{"id": "c"}')
    items = ItemFile(write(tmp_path / "i.jsonl", *lines))
    assert [item["id"] for item in items] == [items[i]["id"] for i in range(3)] == ["a", "b", "c"]
    assert items.total == 3


def test_a_limit_keeps_the_first_items_and_the_file_is_still_counted_whole(tmp_path: Path) -> None:
    path = numbered(tmp_path / "i.jsonl", 5)
    few = ItemFile(path, limit=2)
    assert (len(few), few.total, few.different) == (2, 5, 5)
    assert [item["n"] for item in few] == [item["n"] for item in few[:]] == [0, 1]
    assert few[-1]["n"] == 1
    with pytest.raises(IndexError):
        few[2]
    assert len(ItemFile(path, limit=9)) == len(ItemFile(path)) == 5


def test_no_items_is_an_empty_file_and_no_mistake(tmp_path: Path) -> None:
    items = ItemFile(write(tmp_path / "i.jsonl"))
    assert (len(items), items.total, items.different, list(items)) == (0, 0, 0, [])


def test_an_id_given_twice_is_counted_once(tmp_path: Path) -> None:
    items = ItemFile(write(tmp_path / "i.jsonl", '{"id": "a"}\n{"id": "b"}\n{"id": "a"}\n'))
    assert (items.total, items.different) == (3, 2)


def test_the_checksum_is_of_every_byte_whatever_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "i.jsonl", '{"id": "ü"}\n', "\n", '{"id": "b"}')
    assert ItemFile(path, limit=1).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    before = ItemFile(path).sha256
    path.write_bytes(path.read_bytes() + b"\n")
    assert ItemFile(path).sha256 != before


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ('{"question": "q"}', "line 4 has no id"),
        ('{"id": 7}', "line 4 has no id"),
        ('{"id": null}', "line 4 has no id"),
        ('["id"]', "line 4 has no id"),
        ('"id"', "line 4 has no id"),
        ('{"id": "a"', "line 4: not JSON: .*delimiter"),
        ("\ufffd", "line 4: not JSON: Expecting value"),
        ('{"id": "\\ud800"}', "line 4: id has half of a surrogate pair"),
        ('{"id": "b", "x": NaN}', "line 4: not JSON: NaN is no number"),
    ],
)
def test_a_line_that_is_no_item_is_refused_even_beyond_the_limit(
    tmp_path: Path, second: str, message: str
) -> None:
    path = write(tmp_path / "i.jsonl", '{"id": "a"}\n', "\n", " \n", second + "\n")
    for limit in (None, 1):
        with pytest.raises(ValueError, match=message):
            ItemFile(path, limit)


def test_a_file_that_is_not_there_is_told_by_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ItemFile(tmp_path / "none.jsonl")
