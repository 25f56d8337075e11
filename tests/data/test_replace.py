"""A new dataset takes an old one's place, and nothing else that a person has is ever lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.data.replace import check_replaceable, put
from harness.errors import UserError


def dataset(folder: Path, text: str = "old", mark: str = "dataset_info.json") -> Path:
    folder.mkdir(parents=True)
    (folder / mark).write_text("{}")
    (folder / "data.arrow").write_text(text)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_dataset_comes_where_nothing_is(tmp_path: Path) -> None:
    target = tmp_path / 'it\'s a "dätaset"'
    put(dataset(tmp_path / "new", "new"), target)
    assert (target / "data.arrow").read_text() == "new"
    assert names(tmp_path) == [target.name]


@pytest.mark.parametrize("mark", ["dataset_info.json", "dataset_dict.json"])
def test_an_old_dataset_goes_with_all_that_is_in_it(tmp_path: Path, mark: str) -> None:
    target = dataset(tmp_path / "target", "old", mark)
    (target / "left.arrow").write_text("of the old one")
    put(dataset(tmp_path / "new", "new"), target)
    assert names(target) == ["data.arrow", "dataset_info.json"]
    assert (target / "data.arrow").read_text() == "new"
    assert names(tmp_path) == ["target"]


def test_an_empty_folder_is_no_loss(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    put(dataset(tmp_path / "new", "new"), tmp_path / "target")
    assert (tmp_path / "target" / "data.arrow").read_text() == "new"
    assert names(tmp_path) == ["target"]


def test_of_several_at_once_one_stays_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    target = dataset(tmp_path / "target", "old")
    for number in range(8):
        dataset(tmp_path / f"new{number}", str(number))
    code = (
        "import sys; from pathlib import Path; from harness.data.replace import put\n"
        "sys.stdin.readline(); [put(Path(n), Path(sys.argv[1])) for n in sys.argv[2:]]"
    )
    pairs = [[str(tmp_path / f"new{2 * i + n}") for n in range(2)] for i in range(4)]
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(target), *pair], stdin=subprocess.PIPE)
        for pair in pairs
    ]
    for process in started:
        process.communicate(b"go\n", timeout=60)
    assert [process.returncode for process in started] == [0] * 4
    assert names(tmp_path) == ["target"]
    assert (target / "data.arrow").read_text() in set("01234567")


def test_who_comes_between_is_replaced_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = dataset(tmp_path / "target", "old")
    rename, theirs = os.rename, dataset(tmp_path / "theirs", "theirs")

    def rename_and_let_another_come(source: Path, place: Path) -> None:
        rename(source, place)
        if source == target and theirs.exists():
            rename(theirs, target)

    monkeypatch.setattr(os, "rename", rename_and_let_another_come)
    put(dataset(tmp_path / "new", "new"), target)
    assert (target / "data.arrow").read_text() == "new"
    assert names(tmp_path) == ["target"]


def test_a_folder_of_anything_else_stays_and_so_does_the_new_one(tmp_path: Path) -> None:
    target = tmp_path / "home"
    (target / "dataset_info.json").mkdir(parents=True)  # a folder of that name marks nothing
    new = dataset(tmp_path / "new")
    with pytest.raises(UserError) as caught:
        put(new, target)
    assert str(caught.value) == (
        f"{target}: holds no saved dataset, so it is not replaced; choose another folder"
    )
    assert names(tmp_path) == ["home", "new"]
    assert names(new) == ["data.arrow", "dataset_info.json"]


def test_a_file_and_every_link_are_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("thesis")
    to_dataset, to_nothing = tmp_path / "link", tmp_path / "broken"
    to_dataset.symlink_to(dataset(tmp_path / "real"))
    to_nothing.symlink_to(tmp_path / "gone")
    for place in (file, to_dataset, to_nothing):
        with pytest.raises(UserError) as caught:
            check_replaceable(place)
        assert str(caught.value) == f"{place}: is no folder; choose another place"
    assert names(tmp_path) == ["broken", "file", "link", "real"]


def test_where_nothing_is_there_is_nothing_to_lose(tmp_path: Path) -> None:
    check_replaceable(tmp_path / "none" / "at all")


def test_the_old_dataset_is_back_when_the_new_one_cannot_be_moved(tmp_path: Path) -> None:
    target = dataset(tmp_path / "target")
    with pytest.raises(FileNotFoundError):
        put(tmp_path / "gone", target)
    assert (target / "data.arrow").read_text() == "old"
    assert names(tmp_path) == ["target"]


def test_a_failed_move_to_a_new_place_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        put(tmp_path / "gone", tmp_path / "target")
    assert names(tmp_path) == []
