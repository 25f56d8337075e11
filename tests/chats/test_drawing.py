"""Which rows are drawn of several sets: seeded, whole passes first, and told apart by a digest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.chats.drawing import (
    Drawn,
    drawing_digest,
    drawn_of,
    held_out,
    passes_and_rest,
    too_many,
)
from harness.config.training.sources import DataSource
from harness.errors import UserError
from tests.preflight.support import saved_dataset


def test_whole_passes_come_first_and_the_rest_is_drawn_without_replacement() -> None:
    assert passes_and_rest(10, 30, 1, 0) == (3, [])
    passes, rest = passes_and_rest(10, 24, 1, 0)
    assert passes == 2
    assert len(set(rest)) == 4 and set(rest) <= set(range(10))
    assert passes_and_rest(10, 4, 1, 0) == (0, rest)


def test_the_seed_and_the_place_in_the_list_decide_which() -> None:
    first = passes_and_rest(1000, 500, 1, 0)
    assert passes_and_rest(1000, 500, 1, 0) == first
    assert first not in (passes_and_rest(1000, 500, 2, 0), passes_and_rest(1000, 500, 1, 1))


def test_the_digest_is_of_rows_numbers_order_and_seed_not_of_folders() -> None:
    a, b = Drawn("/a", "train", 10, 5, "aa"), Drawn("/b", "train", 4, 8, "bb")
    first = drawing_digest([a, b], 1)
    assert drawing_digest([replace(a, path="/moved", split="other"), b], 1) == first
    others = [
        drawing_digest([a, b], 2), drawing_digest([b, a], 1), drawing_digest([a], 1),
        drawing_digest([replace(a, drawn=6), b], 1),
        drawing_digest([replace(a, rows_sha256="cc"), b], 1),
    ]  # fmt: skip
    assert len({first, *others}) == 6


def test_what_is_drawn_of_saved_sets(tmp_path: Path) -> None:
    a, b = saved_dataset(tmp_path / "a", 10), saved_dataset(tmp_path / "b", 3)
    sources = [DataSource(path=str(a), weight=0.5, split="train"),
               DataSource(path=str(b), weight=5, max_samples=9, split="train")]  # fmt: skip
    assert [(d.path, d.rows, d.drawn) for d in drawn_of(sources)] == [
        (str(a), 10, 5),
        (str(b), 3, 9),
    ]
    with pytest.raises(UserError, match=r"b: no row is drawn: weight 0\.1 of 3 rows"):
        drawn_of([DataSource(path=str(b), weight=0.1, split="train")])
    assert too_many(14, 14) == ""
    assert "14 rows are drawn, more than max_samples: 13" in too_many(14, 13)


def test_held_out_are_the_sets_that_have_the_split(tmp_path: Path) -> None:
    plain, both = saved_dataset(tmp_path / "plain"), tmp_path / "both"
    saved_dataset(both / "train")
    saved_dataset(both / "test", 4)
    (both / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    sources = [DataSource(path=str(plain)), DataSource(path=str(both), weight=3)]
    assert held_out(sources, "test") == (DataSource(path=str(both), split="test"),)
    with pytest.raises(UserError, match="no set of the list has a split 'dev'"):
        held_out(sources, "dev")
