"""One look through a tree: every folder once, whatever links there are; what cannot be seen is said."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.results import walk as module
from harness.results.walk import Folder, Walk
from tests.results.trees import write


def seen(walk: Walk) -> list[str]:
    return [os.path.relpath(folder.path, walk.root) for folder in walk]


def test_folders_come_in_order_of_names_and_hidden_ones_do_not(tmp_path: Path) -> None:
    for name in ("b/y", "b/x", "a", ".git/objects"):
        (tmp_path / name).mkdir(parents=True)
    walk = Walk(tmp_path)
    assert seen(walk) == [".", "a", "b", "b/x", "b/y"]
    assert (walk.folders, walk.unreadable, walk.links) == (5, [], [])


def test_a_folder_says_which_of_its_files_may_be_results(tmp_path: Path) -> None:
    day = "2026-01-01T10-00-00"
    for name in (
        "metrics.json", "task.json", "manifest.json", "results.json", f"results_{day}.json",
        f"own_{day}.123.json", "out.jsonl.metrics.json", "output.jsonl", "output-rs0.jsonl.done",
        "partial-rs0.jsonl", f"samples_t_{day}.jsonl", "output.graded.jsonl", "samples.jsonl",
        "trainer_state.json", "config.json", "notes.txt", "results.csv",
    ):  # fmt: skip
        write(tmp_path / name, "")
    (folder,) = Walk(tmp_path)
    assert folder.tool_files == [f"own_{day}.123.json", "results.json", f"results_{day}.json"]
    assert folder.outputs == ["output.jsonl", "partial-rs0.jsonl", f"samples_t_{day}.jsonl"]
    assert folder.graded == ["out.jsonl.metrics.json"]
    assert {"metrics.json", "task.json", "manifest.json", "output-rs0.jsonl.done"} <= folder.files
    assert not {"config.json", "notes.txt", "samples.jsonl"} & folder.files
    assert (folder.name, folder.parts) == (tmp_path.name, tmp_path.parts)


def test_links_never_lead_in_circles_and_only_out_of_the_tree_are_followed(tmp_path: Path) -> None:
    tree, other = tmp_path / "tree", tmp_path / "other"
    for folder in (tree / "a", other / "deep"):
        folder.mkdir(parents=True)
    for link, target in (
        ("up", ".."), ("self", "self"), ("a/again", "../a"), ("latest", "a"), ("gone", "/absent"),
        ("out", "../other"), ("out-too", "../other/deep"), (".hidden", "../other"),
    ):  # fmt: skip
        (tree / link).symlink_to(target)
    (other / "deep" / "back").symlink_to(tree)
    walk = Walk(tree)
    assert seen(walk) == [".", "a", "out", "out/deep"]
    told = {line.split(" -> ")[0].removeprefix(f"{tree}/") for line in walk.links}
    assert told == {"up", "self", "a/again", "latest", "gone", "out-too", "out/deep/back"}
    assert walk.unreadable == []


def test_the_trees_own_path_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real" / "a").mkdir(parents=True)
    (tmp_path / "latest").symlink_to("real")
    walk = Walk(tmp_path / "latest")
    assert [f.parts[-2:] for f in walk] == [(tmp_path.name, "real"), ("real", "a")]


def test_what_cannot_be_read_is_named_with_its_reason_and_its_neighbours_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / name / "metrics.json", "{}")
    os.mkfifo(tmp_path / "b" / "task.json")
    (tmp_path / "step_5").symlink_to("/absent")
    (tmp_path / "c" / "results.json").symlink_to("/absent")
    real = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(module.os, "scandir", scandir)
    walk = Walk(tmp_path)
    folders = {folder.name: folder.files for folder in walk}
    assert folders["b"] == folders["c"] == {"metrics.json"}
    assert {os.path.relpath(path, tmp_path): why for path, why in walk.unreadable} == {
        "a": "cannot be read: Permission denied",
        "b/task.json": "is no file that can be read",
        "step_5": "is a link to /absent, which is not there",
        "c/results.json": "is a link to /absent, which is not there",
    }


def test_it_does_not_go_where_it_is_told_not_to(tmp_path: Path) -> None:
    for name in ("run/deep", "cell/program/deep", "cell/kept"):
        (tmp_path / name).mkdir(parents=True)
    walk, found = Walk(tmp_path), []
    for folder in walk:
        found.append(folder.name)
        if folder.name == "run":
            walk.leave_out(folder)
        if folder.name == "cell":
            walk.leave_out(folder, "program")
    assert found == [tmp_path.name, "cell", "kept", "run"]


def test_it_says_how_far_it_is_only_once_that_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        (tmp_path / str(number)).mkdir()
    told: list[str] = []
    list(Walk(tmp_path, told.append))
    assert told == []
    clock = iter(range(100))
    now: Callable[[], float] = lambda: float(next(clock))  # noqa: E731 - a second for each folder
    monkeypatch.setattr(module.time, "monotonic", now)
    list(Walk(tmp_path, told.append, _said=0.0))
    assert told == ["4 folders read …"]


def test_the_first_names_are_kept_for_who_finds_nothing(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path / f"{number:02}.txt", "")
    walk = Walk(tmp_path)
    list(walk)
    assert len(walk.names) == 8 and all(name.endswith(".txt") for name in walk.names)


def test_a_folder_of_many_entries_is_read_once_and_only_what_may_be_results_is_kept(
    tmp_path: Path,
) -> None:
    for number in range(3000):
        (tmp_path / f"sample-{number}.txt").touch()
    write(tmp_path / "metrics.json", "{}")
    (folder,) = Walk(tmp_path)
    assert folder == Folder(str(tmp_path), tmp_path.parts, frozenset({"metrics.json"}))
