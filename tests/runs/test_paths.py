"""Names inside a run folder, and how a run is found by what a user types."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.runs.files import write_json
from harness.runs.paths import (
    RUN_ID,
    CellPaths,
    RunPaths,
    checkpoint_name,
    checkpoint_step,
    find_run,
    find_runs,
    key_file,
    link_latest,
    new_run_id,
    step_of_name,
)

ID = "20260101-000000-aaaa"


def test_steps_are_read_from_names() -> None:
    assert [checkpoint_step(n) for n in ("checkpoint-12", "base", "checkpoint-", "x")] == [
        12,
        0,
        None,
        None,
    ]


def test_runs_are_found_by_folder_name_id_or_as_the_latest(tmp_path: Path) -> None:
    roots = [tmp_path / "a" / "20260101-000000-aaaa", tmp_path / "b" / "20260102-000000-bbbb"]
    for root in roots:
        write_json(root / "manifest.json", {})
        link_latest(root)
    assert find_run(None, tmp_path).root == roots[1]
    assert find_run("a", tmp_path).root == roots[0]
    assert find_run("20260101-000000-aaaa", tmp_path).root == roots[0]
    assert find_run(str(tmp_path / "a" / "latest"), tmp_path).root == roots[0]
    with pytest.raises(UserError, match=r"did you mean"):
        find_run("20260101-000000-aaab", tmp_path)
    with pytest.raises(UserError, match="no run under"):
        find_run(None, tmp_path / "empty")


def test_run_ids_are_of_the_documented_form() -> None:
    assert RUN_ID.match(new_run_id())
    assert RunPaths(Path("/r/n/20260101-000000-aaaa")).name == "n"


def test_a_checkpoints_name_and_its_step_are_each_others_inverse() -> None:
    assert [checkpoint_step(checkpoint_name(step)) for step in (0, 7, 15000)] == [0, 7, 15000]
    hostile = ("checkpoint-5\n", " checkpoint-5", "checkpoint-5.incomplete-1", "checkpoint--5", "")
    assert [checkpoint_step(name) for name in hostile] == [None] * 5


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint-500", 500), ("base", 0), ("global_step_500", 500), ("global_step500", 500),
        ("step_500", 500), ("step-500", 500), ("step500-unsharded", 500), ("iter_0000500", 500),
        ("checkpoint_500", 500), ("ckpt-500", 500), ("global_step500_hf", 500), ("step=500", 500),
        ("checkpoint-0", 0), ("iter_0000000", 0),
        ("500", None), ("qwen3", None), ("checkpoint-", None), ("my-checkpoint-500", None),
        ("checkpoint-500.incomplete-1", None), ("checkpoint-500\n", None), ("step_5\u0665", None),
        ("checkpoint--5", None), ("epoch_3", None), ("step-3.7-flash", None), ("", None),
        ("checkpoint-" + "9" * 5000, None),
    ],
)  # fmt: skip
def test_anybodys_checkpoint_folder_tells_its_step(name: str, step: int | None) -> None:
    assert step_of_name(name) == step


def test_only_the_trainers_own_spelling_is_a_checkpoint_of_ours() -> None:
    # One step, one folder: `checkpoint-007` would stand beside `checkpoint-7`.
    hostile = ("checkpoint-007", "checkpoint-\u0665", "checkpoint-" + "9" * 5000)
    assert [checkpoint_step(name) for name in hostile] == [None] * 3
    assert RUN_ID.match(f"{ID}\n") is None
    assert RUN_ID.match("\u0662" + ID[1:]) is None


def test_a_run_id_is_of_this_second_in_utc_and_of_some_letters() -> None:
    before = datetime.now(timezone.utc).replace(microsecond=0)
    made = [new_run_id() for _ in range(50)]
    last = datetime.strptime(made[-1][:15], "%Y%m%d-%H%M%S").replace(tzinfo=timezone.utc)
    assert before <= last <= datetime.now(timezone.utc)
    assert len({run_id[-4:] for run_id in made}) > 40  # two may be equal by chance


def test_other_names_are_no_run_ids() -> None:
    others = ("latest", f".{ID}", f"{ID}x", ID.upper(), ID[:-1], "")
    assert [name for name in others if RUN_ID.match(name)] == []


def test_only_folders_of_a_run_id_with_a_manifest_are_runs_oldest_first(tmp_path: Path) -> None:
    later = tmp_path / "a" / "20260102-000000-aaaa"
    earlier = tmp_path / "b name'\n" / ID
    for root in (later, earlier, tmp_path / "c" / "notes"):
        write_json(root / "manifest.json", {})
    (tmp_path / "d" / ID).mkdir(parents=True)
    link_latest(later)
    assert [run.root for run in find_runs(tmp_path)] == [earlier, later]
    assert find_run("b name'\n", tmp_path).root == earlier
    assert find_runs(tmp_path / "absent") == []


def test_a_word_that_names_no_run_says_where_was_looked(tmp_path: Path) -> None:
    write_json(tmp_path / "mine" / ID / "manifest.json", {})
    with pytest.raises(UserError) as caught:
        find_run("mien", tmp_path)
    assert str(caught.value) == (
        f"mien: no run folder, and no run of that name or id under {tmp_path}; did you mean 'mine'?"
    )
    with pytest.raises(UserError, match="start one with `python -m harness submit`"):
        find_run(None, tmp_path / "mine")


@pytest.mark.parametrize("word", ["x" * 5000, "a\0b", "", "\n"])
def test_a_word_that_no_run_can_have_is_told_as_any_other(tmp_path: Path, word: str) -> None:
    write_json(tmp_path / "mine" / ID / "manifest.json", {})
    with pytest.raises(UserError) as caught:
        find_run(word, tmp_path)
    told = str(caught.value)
    assert ": no run folder, and no run of that name or id under " in told
    assert len(told) < 800 and "\n" not in told
    if not word:
        assert told.startswith("an empty word: ")


def test_the_link_to_the_latest_moves_and_leaves_no_scrap(tmp_path: Path) -> None:
    roots = [tmp_path / f"2026010{day}-000000-aaaa" for day in (1, 2)]
    for root in roots:
        root.mkdir()
        link_latest(root)
    assert os.readlink(tmp_path / "latest") == roots[1].name
    # What was left by a process of the same id that was killed is in nobody's way.
    (tmp_path / f".latest.{os.getpid()}").symlink_to("nowhere")
    link_latest(roots[0])
    assert os.readlink(tmp_path / "latest") == roots[0].name
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(r.name for r in roots), "latest"]


def test_no_two_files_of_a_run_or_a_cell_have_one_name() -> None:
    run, cell = RunPaths(Path("/r/n") / ID), CellPaths(Path("/r/n") / ID / "eval" / "c" / "b")
    named = [
        *(getattr(run, name) for name, kind in vars(RunPaths).items() if isinstance(kind, property)),
        run.script("train"), run.logs("train"), run.node_reason(1), run.node_reason(2),
        run.checkpoint_metrics("base"), run.cell("base", "gsm8k").metrics,
    ]  # fmt: skip
    files = [name for name in named if isinstance(name, Path)]
    assert len(set(files)) == len(files)
    assert all(file.is_relative_to(run.root) for file in files)
    repeats = [cell.output(0), cell.output(1), cell.partial(0), cell.partial(1), cell.judgements]
    assert len(set(repeats)) == 5


def test_a_servers_key_lies_in_the_users_home_and_not_in_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert key_file(ID) == tmp_path / "harness" / "keys" / f"{ID}.key"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert key_file(ID) == tmp_path / ".local" / "state" / "harness" / "keys" / f"{ID}.key"
