"""Rows, from folders written by save_to_disk."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("datasets", reason="datasets is not installed")

from harness.compute.train.rows.dataset import choose_rows, link_dataset, open_rows
from harness.errors import UserError
from tests.tiny_model import make_tiny_dataset


def test_a_dataset_and_a_split_of_several_load_alike(tmp_path: Path) -> None:
    make_tiny_dataset(tmp_path / "one", 6)
    make_tiny_dataset(tmp_path / "dict", 6, split="train")
    one = open_rows(str(tmp_path / "one"), "train")
    of_dict = open_rows(str(tmp_path / "dict"), "train")
    assert one.to_list() == of_dict.to_list()
    assert choose_rows(one, 10, 0)[1] == "6 rows"


def test_the_cap_takes_the_same_rows_for_the_same_seed(tmp_path: Path) -> None:
    rows = open_rows(str(make_tiny_dataset(tmp_path / "data", 50)), "train")
    first, said = choose_rows(rows, 10, 1)
    again, _ = choose_rows(rows, 10, 1)
    other, _ = choose_rows(rows, 10, 2)
    assert len(first) == 10
    assert first.to_list() == again.to_list() != other.to_list()
    assert said.startswith("10 of 50 rows")


@pytest.mark.parametrize(
    ("folder", "split", "text"),
    [
        ("nowhere", "train", "no such folder"),
        ("empty", "train", "not a dataset saved by"),
        ("dict", "trian", "no split 'trian'; did you mean 'train'"),
    ],
)
def test_what_cannot_be_loaded_is_named(tmp_path: Path, folder: str, split: str, text: str) -> None:
    (tmp_path / "empty").mkdir()
    make_tiny_dataset(tmp_path / "dict", 3, split="train")
    with pytest.raises(UserError, match=text):
        open_rows(str(tmp_path / folder), split)


def test_a_linked_dataset_caches_beside_the_links(tmp_path: Path) -> None:
    source = make_tiny_dataset(tmp_path / "source", 5, split="train")
    before = sorted(source.rglob("*"))
    for _ in range(2):
        linked = link_dataset(source, tmp_path / "run" / "dataset")
    rows = open_rows(str(linked), "train")
    assert len(rows.map(lambda row: {"n": len(row["messages"])})) == 5
    assert sorted(source.rglob("*")) == before
    assert len(list(linked.rglob("cache-*.arrow"))) == 1
