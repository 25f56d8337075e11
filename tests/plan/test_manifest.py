"""The record of a run: which job is which, read back, and written by several at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

import harness
from harness.config.site import Site
from harness.errors import ResultError
from harness.plan.manifest import (
    Intent,
    Manifest,
    Submission,
    add_submission,
    announce,
    describe_environment,
    read_manifest,
    settle,
    write_manifest,
)
from harness.plan.plan import build_plan
from harness.runs.files import utc_now
from harness.runs.paths import RunPaths
from tests.plan.test_plan import make_spec

PLAN = build_plan(make_spec(), Site())


def manifest(*submissions: Submission, **fields: Any) -> Manifest:
    return Manifest(
        run_id="20260101-000000-aaaa", created=utc_now(), scheduler="slurm", plan=PLAN,
        submissions=submissions, **fields,
    )  # fmt: skip


def submitted(job: str, job_id: str, *tasks: int) -> Submission:
    return Submission(job=job, id=job_id, time=utc_now(), tasks=tasks)


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    paths = RunPaths(tmp_path / "run" / "20260101-000000-aaaa")
    write_manifest(paths, manifest())
    return paths


def test_a_manifest_comes_back_as_it_was_written(run: RunPaths) -> None:
    whole = manifest(
        submitted("train", "1"), submitted("eval-checkpoint-4", "2", 0, 1),
        environment={"host": "a\nb 'é\""},
    )  # fmt: skip
    write_manifest(run, whole)
    assert read_manifest(run) == whole


def test_the_newest_submission_of_a_task_is_its_job() -> None:
    found = manifest(
        submitted("eval", "10"), submitted("train", "11"), submitted("eval", "12", 1, 3),
        submitted("eval", "13", 3),
    )  # fmt: skip
    assert [found.job_id("eval", task) for task in range(4)] == ["10", "12", "10", "13"]
    assert found.job_id("eval") == "13"
    assert found.job_id("train") == found.job_id("train", 0) == "11"
    assert [each.id for each in found.submissions_of("eval")] == ["10", "12", "13"]


def test_a_job_that_was_never_submitted_has_no_id() -> None:
    found = manifest(submitted("eval", "12", 1))
    assert found.job_id("eval", 0) is None
    assert found.job_id("collect") is None
    assert found.submission("collect") is None
    assert found.submissions_of("collect") == []


def test_a_copy_knows_its_own_submissions() -> None:
    first = manifest(submitted("train", "1"))
    assert first.job_id("train") == "1"
    second = first.model_copy(update={"submissions": (*first.submissions, submitted("train", "2"))})
    assert (first.job_id("train"), second.job_id("train")) == ("1", "2")


def test_submissions_made_at_once_are_all_recorded(run: RunPaths) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: add_submission(run, f"job {i}", str(i)), range(24)))
    recorded = read_manifest(run).submissions
    assert sorted(int(each.id) for each in recorded) == list(range(24))
    assert all(each.job == f"job {each.id}" for each in recorded)


def intent(job: str, *tasks: int) -> Intent:
    return Intent(job=job, name=f"run.x:{job}", tasks=tasks)


def test_what_is_announced_has_no_id_until_one_is_recorded(run: RunPaths) -> None:
    announced = [intent("train"), intent("eval", 0, 2), intent("collect")]
    announce(run, announced)
    assert read_manifest(run).intents == tuple(announced)
    assert read_manifest(run).submissions == ()
    add_submission(run, "train", "7")
    add_submission(run, "eval", "8", (0, 2))
    found = read_manifest(run)
    assert [(s.job, s.id, s.tasks) for s in found.submissions] == [
        ("train", "7", ()), ("eval", "8", (0, 2)),
    ]  # fmt: skip
    assert [i.job for i in found.intents] == ["collect"]


def test_a_settled_record_is_one_file_with_every_id(run: RunPaths) -> None:
    announce(run, [intent("train"), intent("collect")])
    add_submission(run, "train", "7")
    settle(run)
    assert not run.manifest.with_suffix(".jsonl").exists()
    data = json.loads(run.manifest.read_text())
    assert [s["id"] for s in data["submissions"]] == ["7"]
    assert "intents" not in data
    announce(run, [intent("train")])  # a retry
    assert [i.job for i in read_manifest(run).intents] == ["train"]
    add_submission(run, "train", "9")
    settle(run)
    settle(run)
    assert [s.id for s in read_manifest(run).submissions] == ["7", "9"]


def test_an_id_is_recorded_once_where_settling_was_cut_short(run: RunPaths) -> None:
    announce(run, [intent("train")])
    add_submission(run, "train", "7")
    journal = run.manifest.with_suffix(".jsonl")
    kept = journal.read_bytes()
    settle(run)
    journal.write_bytes(kept)  # as if killed before it was removed
    assert [s.id for s in read_manifest(run).submissions] == ["7"]
    assert read_manifest(run).intents == ()


def test_wherever_a_line_is_cut_no_other_is_lost_and_its_job_stays_announced(
    run: RunPaths,
) -> None:
    journal = run.manifest.with_suffix(".jsonl")
    announce(run, [intent("train"), intent("eval", 1)])
    add_submission(run, "train", "7")
    before = journal.read_bytes()
    add_submission(run, "eval", "8", (1,))
    whole = journal.read_bytes()
    for end in range(len(before), len(whole)):
        journal.write_bytes(whole[:end])
        found = read_manifest(run)
        assert [s.id for s in found.submissions] == ["7"]
        assert [i.job for i in found.intents] == ["eval"]
        add_submission(run, "eval", "8", (1,))
        assert [s.id for s in read_manifest(run).submissions] == ["7", "8"]
    for end in range(len(before)):
        journal.write_bytes(before[:end])
        assert len(read_manifest(run).intents) <= 2


def test_a_disk_that_is_full_is_an_error_and_not_a_lost_id(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce(run, [intent("train")])
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:9]))
    with pytest.raises(OSError, match="No space left"):
        add_submission(run, "train", "7")
    monkeypatch.undo()
    assert [i.job for i in read_manifest(run).intents] == ["train"]


def test_a_manifest_of_another_version_is_refused_with_file_and_version(run: RunPaths) -> None:
    data = json.loads(run.manifest.read_text())
    run.manifest.write_text(json.dumps({**data, "colour": 1, "scheduler": "pbs"}))
    with pytest.raises(ResultError) as caught:
        read_manifest(run)
    assert str(caught.value) == (
        f"{run.manifest}: not a manifest of this version ({harness.__version__}): 2 fields differ"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "no such file"), ("{", "cannot be read as JSON"), ("[]", "not a manifest of this")],
)
def test_what_is_no_manifest_is_an_error_with_its_file(
    run: RunPaths, text: str | None, message: str
) -> None:
    run.manifest.unlink()
    if text is not None:
        run.manifest.write_text(text)
    with pytest.raises(ResultError, match=rf"manifest\.json: {message}"):
        read_manifest(run)


def git(folder: Path, *arguments: str) -> str:
    own = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(folder), *own, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_environment_names_versions_and_the_commit_with_its_changes(tmp_path: Path) -> None:
    folder = tmp_path / "a project"
    folder.mkdir()
    facts = describe_environment(folder)
    assert "git_commit" not in facts
    assert (facts["harness"], facts["executable"]) == (harness.__version__, sys.executable)
    assert facts["pydantic"].startswith("2.")
    git(folder, "init", "-q")
    (folder / "harness").mkdir()
    package = folder / "harness" / "__init__.py"
    package.write_text("1")
    git(folder, "add", "harness")
    git(folder, "commit", "-q", "-m", "one")
    (folder / "untracked").write_text("")
    commit = git(folder, "rev-parse", "HEAD")
    assert describe_environment(folder)["git_commit"] == commit
    package.write_text("2")
    assert describe_environment(folder)["git_commit"] == f"{commit} with local changes"


def test_the_commit_of_a_project_whose_environment_holds_the_package_is_not_ours(
    tmp_path: Path,
) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "theirs").write_text("")
    git(tmp_path, "add", "theirs")
    git(tmp_path, "commit", "-q", "-m", "theirs")
    installed = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    (installed / "harness").mkdir(parents=True)
    (installed / "harness" / "__init__.py").write_text("")
    assert "git_commit" not in describe_environment(installed)


def test_no_variable_and_no_secret_is_in_the_environment_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "a-secret-of-mine")
    assert "a-secret-of-mine" not in json.dumps(describe_environment(tmp_path))


def test_a_user_without_a_name_is_known_by_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for problem in (KeyError("getpwuid(): uid not found: 4711"), OSError("No username set")):
        monkeypatch.setattr("getpass.getuser", Mock(side_effect=problem))
        assert describe_environment(tmp_path)["user"] == str(os.getuid())
