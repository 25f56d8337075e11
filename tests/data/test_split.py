"""Splits of the asked size, the same for the same seed, and no prompt in two of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datasets", reason="datasets is not installed")

from datasets import Dataset, DatasetDict, load_from_disk

from harness.data.split import Parted, size_of, split
from harness.errors import UserError


def saved(folder: Path, *asked: str, system: bool = False) -> Path:
    chats = [
        [*([{"role": "system", "content": str(i)}] if system else []),
         {"role": "user", "content": text}, {"role": "assistant", "content": f"answer {i}"}]
        for i, text in enumerate(asked)
    ]  # fmt: skip
    Dataset.from_dict({"messages": chats, "id": list(range(len(asked)))}).save_to_disk(folder)
    return folder


def run(source: Path, target: Path, sizes: dict[str, Any], **options: Any) -> Parted:
    return split(source, target, sizes, report=lambda _: None, **options)


def ids(folder: Path) -> dict[str, list[int]]:
    return {name: rows["id"][:] for name, rows in load_from_disk(str(folder)).items()}


def test_shares_and_counts_are_met_and_every_row_is_in_one_split(tmp_path: Path) -> None:
    source = saved(tmp_path / "d", *map(str, range(40)))
    made = run(source, tmp_path / "out", {"test": 0.25, "validation": 3})
    found = ids(tmp_path / "out")
    assert made.rows == {"train": 27, "test": 10, "validation": 3}
    assert {name: len(rows) for name, rows in found.items()} == made.rows
    assert sorted(number for rows in found.values() for number in rows) == list(range(40))
    assert all(rows == sorted(rows) for rows in found.values())
    assert run(source, tmp_path / "same", {"test": 0.25, "validation": 3}) == made
    assert ids(tmp_path / "same") == found
    run(source, tmp_path / "other", {"test": 0.25, "validation": 3}, seed=7)
    assert ids(tmp_path / "other") != found


@pytest.mark.parametrize("system", [False, True])
def test_a_prompt_is_in_one_split_however_often_and_under_whatever_system_prompt(
    system: bool, tmp_path: Path
) -> None:
    texts = [f"q{i % 10}" if i % 2 else f"  Q{i % 10}\n" for i in range(60)]
    made = run(saved(tmp_path / "d", *texts, system=system), tmp_path / "out", {"test": 14})
    loaded = load_from_disk(str(tmp_path / "out"))
    asked = {
        name: {row[-2]["content"].strip().lower() for row in rows["messages"]}
        for name, rows in loaded.items()
    }
    assert not asked["train"] & asked["test"]
    assert made.prompts == 10
    assert made.rows == {"train": 48, "test": 12}
    assert made.notes == ["test has 12 rows, not 14: rows of one prompt stay together"]


@pytest.mark.parametrize(
    ("texts", "sizes", "words"),
    [
        (["a"] * 9, {"test": 2}, "9 of 9 have the same"),
        (["a", "b"], {"test": 2}, "has 2 rows, of which 2 are asked for"),
        (["a", "b"], {"test": 1, "validation": 0.5}, "of which 2 are asked for"),
    ],
)
def test_what_cannot_be_split_is_told(
    texts: list[str], sizes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        run(saved(tmp_path / "d", *texts), tmp_path / "out", sizes)
    assert not (tmp_path / "out").exists()


def test_one_split_of_several_is_split_and_the_others_stay(tmp_path: Path) -> None:
    rows = load_from_disk(str(saved(tmp_path / "one", *"abcdefgh")))
    DatasetDict({"train": rows, "extra": rows.select([0])}).save_to_disk(tmp_path / "d")
    run(tmp_path / "d", tmp_path / "out", {"test": 2})
    assert {n: len(r) for n, r in ids(tmp_path / "out").items()} == {
        "train": 6, "test": 2, "extra": 1
    }  # fmt: skip
    with pytest.raises(UserError, match="has a split 'test' already"):
        run(tmp_path / "out", tmp_path / "no", {"test": 2})
    DatasetDict({"a": rows, "b": rows}).save_to_disk(tmp_path / "two")
    with pytest.raises(UserError, match="Choose one: --split"):
        run(tmp_path / "two", tmp_path / "no", {"test": 2})
    with pytest.raises(UserError, match="has no split 'c'"):
        run(tmp_path / "two", tmp_path / "no", {"test": 2}, of="c")


@pytest.mark.parametrize(
    ("word", "size"),
    [("500", 500), ("1", 1), ("0.05", 0.05), (".5", 0.5), ("5%", 0.05), ("12.5%", 0.125)],
)
def test_sizes_are_rows_or_shares(word: str, size: float) -> None:
    assert size_of(word) == size


@pytest.mark.parametrize("word", ["0", "-1", "1.5", "0.0", "100%", "0%", "ten", "", "1e3", "nan"])
def test_what_is_no_size_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        size_of(word)
