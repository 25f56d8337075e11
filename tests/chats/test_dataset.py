"""A dataset saved by `save_to_disk`, read row by row; what is none is said with its cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from harness.chats.dataset import CURE, SavedDataset, choose_columns, read_saved_dataset
from harness.errors import UserError
from tests.preflight.support import saved_dataset

TEXT = ("text",)


def saved(folder: Path, *files: list[str], column: str = "text") -> SavedDataset:
    """One Arrow file of batches of two rows for each list."""
    folder.mkdir(parents=True)
    names = [f"data {i}.arrow" for i in range(len(files))]
    for name, values in zip(names, files, strict=True):
        table = pa.table({column: values, "other": values})
        with pa.ipc.new_stream(folder / name, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    state = {"_data_files": [{"filename": name} for name in names]}
    (folder / "state.json").write_text(json.dumps(state))
    info: dict[str, Any] = {"features": {column: {}, "other": {}}}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return read_saved_dataset(folder, "train")


def test_rows_are_numbered_over_batches_and_files(tmp_path: Path) -> None:
    data = saved(tmp_path / "d", ["a", "b", "c"], ["d"], [], ["e", "f"])
    assert (data.rows, data.columns) == (6, ("text", "other"))
    assert data.take([5, 0, 3, 2], TEXT) == {n: {"text": "abcdef"[n]} for n in (5, 0, 3, 2)}
    assert list(data.take([5, 0, 3], TEXT)) == [5, 0, 3]
    assert data.take([], TEXT) == {}


def test_batches_hold_what_is_asked_for(tmp_path: Path) -> None:
    data = saved(tmp_path / "d", ["a", "b", "c"])
    assert [batch.column_names for batch in data.batches(("other",))] == [["other"]] * 2
    assert [batch.column_names for batch in data.batches()] == [["text", "other"]] * 2


def test_a_sample_is_the_same_for_the_same_seed_and_holds_no_row_twice(tmp_path: Path) -> None:
    data = saved(tmp_path / "d", [str(i) for i in range(40)])
    one = data.sample(10, 1, TEXT)
    assert len(one) == 10
    assert all(row == {"text": str(number)} for number, row in one.items())
    assert list(data.sample(10, 1, TEXT)) == list(one) != sorted(one)
    assert set(data.sample(10, 2, TEXT)) != set(one)
    assert sorted(data.sample(99, 1, TEXT)) == list(range(40))


def test_an_empty_dataset_has_no_rows_and_is_no_error(tmp_path: Path) -> None:
    data = saved(tmp_path / "d", [])
    assert data.rows == 0
    assert data.sample(5, 1, TEXT) == {}
    assert saved(tmp_path / "none").rows == 0


def test_a_split_is_read_by_its_name(tmp_path: Path) -> None:
    saved_dataset(tmp_path / "d" / "train", rows=3)
    saved_dataset(tmp_path / "d" / "of test", rows=5)
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "of test"]}')
    assert read_saved_dataset(tmp_path / "d", "train").rows == 3
    assert read_saved_dataset(tmp_path / "d", "of test").rows == 5
    with pytest.raises(UserError) as caught:
        read_saved_dataset(tmp_path / "d", "tests")
    assert str(caught.value) == (
        f"{tmp_path / 'd'}: has no split 'tests'; did you mean 'of test'?; "
        "it has train, of test: set train.dataset_split"
    )


def test_without_splits_the_splits_name_does_not_matter(tmp_path: Path) -> None:
    folder = saved_dataset(tmp_path / "d", rows=3)
    assert read_saved_dataset(folder, "validation").rows == 3


def test_a_folder_that_is_not_there_may_be_an_id_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        read_saved_dataset(Path("owner/data"), "train")
    assert str(caught.value) == (
        "owner/data: no such folder (a dataset's Hub id is not taken here)\n"
        + CURE.replace("ID", "owner/data")
    )
    with pytest.raises(UserError) as caught:
        read_saved_dataset(tmp_path / "data", "train")
    assert str(caught.value) == f"{tmp_path / 'data'}: no such folder\n{CURE}"


@pytest.mark.parametrize("missing", ["state.json", "dataset_info.json"])
def test_a_folder_that_is_no_dataset_is_said_with_its_cure(tmp_path: Path, missing: str) -> None:
    folder = saved_dataset(tmp_path / "d")
    (folder / missing).unlink()
    with pytest.raises(UserError) as caught:
        read_saved_dataset(folder, "train")
    assert str(caught.value) == (
        f"{folder}: not a dataset saved by save_to_disk: {folder / missing}: no such file\n"
        f"Of the files in it: python -m harness data convert {folder} FOLDER"
    )


@pytest.mark.parametrize("name", ["dataset_dict.json", "dataset_info.json", "state.json"])
@pytest.mark.parametrize(
    "text",
    ["[]", "{", '"x"', "null", "5", '{"splits": [1], "_data_files": [1], "features": [1]}',
     '{"splits": [{}], "_data_files": [{}], "features": [null]}'],
)  # fmt: skip
def test_a_description_that_is_none_is_no_traceback(tmp_path: Path, name: str, text: str) -> None:
    folder = saved_dataset(tmp_path / "d")
    (folder / name).write_text(text)
    with pytest.raises(UserError, match="not a dataset saved by save_to_disk"):
        read_saved_dataset(folder, "train")


def test_a_file_that_was_cut_off_is_damaged_by_name(tmp_path: Path) -> None:
    data = saved(tmp_path / "d", ["a"], ["b" * 1000] * 50)
    whole = data.files[1].read_bytes()
    data.files[1].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError) as caught:
        read_saved_dataset(tmp_path / "d", "train")
    assert str(caught.value).startswith(f"{data.files[1]}: the dataset is damaged: ")


@pytest.mark.parametrize(
    ("columns", "trained", "beside", "dropped"),
    [
        ("messages", "messages", "", ""),
        ("prompt completion", "prompt completion", "", ""),
        ("prompt", "", "", "prompt"),
        ("text input_ids", "", "", "text input_ids"),
        ("conversations tools", "", "", "conversations tools"),
        # each of these TRL would train instead of the messages
        ("input_ids labels messages", "messages", "", "input_ids labels"),
        ("conversations messages", "messages", "", "conversations"),
        ("prompt completion messages tools", "messages", "tools", "prompt completion"),
        ("prompt prompt_id messages", "messages", "", "prompt prompt_id"),
        ("input_ids prompt completion", "prompt completion", "", "input_ids"),
        ("messages chat_template_kwargs tools id", "messages", "tools chat_template_kwargs", "id"),
    ],
)
def test_messages_are_trained_before_anything_else(
    columns: str, trained: str, beside: str, dropped: str
) -> None:
    found = choose_columns(tuple(columns.split()))
    assert found.trained == tuple(trained.split())
    assert found.beside == tuple(beside.split())
    assert found.dropped == tuple(dropped.split())
    assert found.read == found.trained + found.beside
