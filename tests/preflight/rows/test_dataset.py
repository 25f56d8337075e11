"""Is there a dataset to train on: there, whole, with rows, and with columns that are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.chats.dataset import CURE
from harness.config.training.train import TrainSpec
from harness.preflight.findings import Finding
from harness.preflight.rows.dataset import check_dataset
from tests.preflight.support import saved_dataset

PLACE = "train.dataset_name"


def train(folder: Path, **fields: Any) -> TrainSpec:
    return TrainSpec(model_name="m", dataset_name=str(folder), **fields)


def only(folder: Path, **fields: Any) -> Finding:
    (finding,) = check_dataset(train(folder, **fields))[1]
    assert (finding.level, finding.place) == ("error", PLACE)
    return finding


def test_a_good_dataset_is_counted_and_has_no_findings(tmp_path: Path) -> None:
    folder = saved_dataset(tmp_path / 'it\'s a "dataset" é', rows=7)
    dataset, findings = check_dataset(train(folder))
    assert dataset is not None
    assert (dataset.rows, dataset.columns, findings) == (7, ("messages",), [])


@pytest.mark.parametrize(
    ("columns", "good"),
    [
        (("messages", "source"), True),
        (("prompt", "completion"), True),
        (("text",), False),
        (("prompt",), False),
        (("prompt", "messages"), True),
    ],
)
def test_columns_must_be_a_conversation(
    tmp_path: Path, columns: tuple[str, ...], good: bool
) -> None:
    folder = saved_dataset(tmp_path / "d", columns=columns)
    dataset, findings = check_dataset(train(folder))
    assert dataset is not None and dataset.rows == 10
    wrong = [f.message for f in findings if f.level == "error"]
    assert wrong == (
        [] if good else [f"{folder}: columns are {', '.join(columns)}; "
                         "`messages` (or `prompt` and `completion`) is expected"]
    )  # fmt: skip
    assert all("data convert" in f.cure for f in findings if f.level == "error")


def test_a_dataset_without_rows_is_an_error_and_no_unreadable_one(tmp_path: Path) -> None:
    folder = saved_dataset(tmp_path / "d", messages=[])
    dataset, (finding,) = check_dataset(train(folder))
    assert dataset is not None and dataset.rows == 0
    assert (finding.level, finding.message) == ("error", f"{folder}: has no rows")


def test_a_folder_that_is_not_there_is_unknown_and_not_empty(tmp_path: Path) -> None:
    folder = tmp_path / "absent"
    dataset, (finding,) = check_dataset(train(folder))
    assert dataset is None
    assert (finding.level, finding.place) == ("error", PLACE)
    assert (finding.message, finding.cure) == (f"{folder}: no such folder", CURE)


def test_a_name_of_the_hub_is_told_apart_from_a_folder(tmp_path: Path) -> None:
    found = only(tmp_path / "allenai" / "tulu-3-sft-mixture")
    assert "a dataset's Hub id is not taken here" in found.message
    assert "python -m harness data get allenai/tulu-3-sft-mixture FOLDER" in found.cure


@pytest.mark.parametrize("written", ["dta/chats", "data/chat"])
def test_the_nearest_folder_is_offered(tmp_path: Path, written: str) -> None:
    saved_dataset(tmp_path / "data" / "chats")
    (tmp_path / "data" / "chat.jsonl").write_text("")  # a file is none
    found = only(tmp_path / written)
    near = "chats" if written.startswith("data") else "data"
    assert "no such folder" in found.message and f"did you mean '{near}'?" in found.message
    assert "data get ID FOLDER" in found.cure


def test_files_that_are_no_dataset_are_to_be_converted(tmp_path: Path) -> None:
    (tmp_path / "my files").mkdir()
    file = tmp_path / "my files" / "chats.jsonl"
    file.write_text("{}")
    found = only(file)
    assert "is a file" in found.message
    assert found.cure == f"python -m harness data convert '{file}' FOLDER"
    assert f"data convert '{file.parent}' FOLDER" in only(file.parent).cure


def test_a_wrong_split_is_named_with_the_right_one(tmp_path: Path) -> None:
    saved_dataset(tmp_path / "d" / "train")
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert check_dataset(train(tmp_path / "d"))[1] == []
    found = only(tmp_path / "d", dataset_split="tran")
    assert "has no split 'tran'; did you mean 'train'" in found.message
    assert "set train.dataset_split" in found.message


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("state.json", b"", "not a dataset saved by save_to_disk"),
        ("dataset_info.json", b"{", "not a dataset saved by save_to_disk"),
        ("data.arrow", b"garbage", "the dataset is damaged"),
    ],
)
def test_damage_is_one_finding_that_names_the_place(
    tmp_path: Path, file: str, content: bytes, words: str
) -> None:
    folder = saved_dataset(tmp_path / "d")
    (folder / file).write_bytes(content)
    dataset, (finding,) = check_dataset(train(folder))
    assert dataset is None
    assert words in finding.message and str(folder) in finding.message


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    columns = ("input_ids", "labels", "messages", "tools")
    (found,) = check_dataset(train(saved_dataset(tmp_path / "d", columns=columns)))[1]
    assert (found.level, found.place) == ("note", "train.dataset_name")
    assert found.message == "only messages and tools are read; left out: input_ids, labels"
