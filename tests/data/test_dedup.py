"""Repeated chats go, the first of each stays, and all that went is told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datasets", reason="datasets is not installed")

from datasets import Dataset, DatasetDict, load_from_disk

from harness.data.dedup import Deduplicated, Repeat, dedup, shingles
from harness.data.shapes import Chat
from harness.errors import UserError

LONG = "the quick brown fox jumps over the lazy dog and then runs far away into the deep green wood"


def chat(asked: str, answered: str = "Yes.") -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]


def saved(folder: Path, *asked: str, **columns: Any) -> Path:
    rows = {"messages": [chat(text) for text in asked], "id": list(range(len(asked))), **columns}
    Dataset.from_dict(rows).save_to_disk(folder)
    return folder


def run(source: Path, target: Path, **options: Any) -> Deduplicated:
    return dedup(source, target, report=lambda _: None, **options)


def asked(folder: Path) -> list[str]:
    return [turns[0]["content"] for turns in load_from_disk(str(folder))["messages"]]


def test_the_first_of_equal_chats_stays_whatever_other_columns_hold(tmp_path: Path) -> None:
    source = saved(tmp_path / "d", "a", "b", "a", "A", "a")
    found = run(source, tmp_path / "out")
    assert asked(tmp_path / "out") == ["a", "b", "A"]
    assert load_from_disk(str(tmp_path / "out"))["id"][:] == [0, 1, 3]
    assert found.repeats == [Repeat("all", 2, "all", 0, 1.0), Repeat("all", 4, "all", 0, 1.0)]
    assert (found.rows, found.kept) == ({"all": 5}, {"all": 3})
    assert list(found.lines("out", True)) == [
        "out: 3 of 5 rows (all 3); removed: 2 repeated, 0 nearly repeated",
        "  all row 2 repeats all row 0", "  all row 4 repeats all row 0",
    ]  # fmt: skip


def test_another_tool_makes_another_chat_and_splits_are_compared(tmp_path: Path) -> None:
    tools = ['[{"name": "a"}]', '[{"name": "b"}]', None]
    rows = Dataset.from_dict({"messages": [chat("q")] * 3, "tools": tools})
    DatasetDict({"train": rows, "test": rows.select([1])}).save_to_disk(tmp_path / "d")
    found = run(tmp_path / "d", tmp_path / "out")
    assert found.kept == {"train": 3, "test": 0}
    assert found.repeats == [Repeat("test", 0, "train", 1, 1.0)]


def test_a_dry_run_writes_nothing_and_says_the_same(tmp_path: Path) -> None:
    source = saved(tmp_path / "d", "a", "a")
    dry = run(source, tmp_path / "out", dry_run=True)
    assert not (tmp_path / "out").exists()
    assert run(source, tmp_path / "out") == dry
    with pytest.raises(UserError, match="exists already"):
        run(source, tmp_path / "out")
    run(source, tmp_path / "out", force=True)


def test_what_is_no_saved_dataset_is_told_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="data convert"):
        run(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="no such folder"):
        run(tmp_path / "x", tmp_path / "out")


def test_nearly_equal_chats_go_and_other_sums_stay(tmp_path: Path) -> None:
    pytest.importorskip("datasketch", reason="the dedup extra is not installed")
    like = LONG.replace("quick", "QUICK").replace("dog and", "dog, and")
    source = saved(tmp_path / "d", LONG, "2 + 3", like, "2 - 3", f"{LONG} once more", "other words")
    found = run(source, tmp_path / "out", near=0.6)
    assert asked(tmp_path / "out") == [LONG, "2 + 3", "2 - 3", "other words"]
    assert [(r.row, r.of_row) for r in found.repeats] == [(2, 0), (4, 0)]
    assert all(0.6 <= r.likeness < 1 for r in found.repeats)
    assert found.facts()["near"] == 2
    assert run(source, tmp_path / "again", near=0.6) == found


def test_without_its_package_near_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(UserError, match=r"--near needs datasketch: pip install '.*\[dedup\]'"):
        run(saved(tmp_path / "d", "a"), tmp_path / "out", near=0.8)


def test_signs_and_letters_of_scripts_without_blanks_count_as_words() -> None:
    def of(text: str) -> list[bytes]:
        return shingles(Chat([{"role": "user", "content": text}]))

    assert of("2 + 3") != of("2 - 3")
    assert of("Hello, World!") == of("hello world")
    assert len(of("今天天气很好吗")) == 3
