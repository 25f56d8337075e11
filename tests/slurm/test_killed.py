"""A submission that is killed at any point leaves a run that every verb reads rightly."""

from __future__ import annotations

from pathlib import Path

import pytest

from .cluster import PrivateSlurm
from .submitting import JOBS, Submitter

KILL = """\
[[ "$*" == *:{job}\\ * ]] || exec $REAL "$@"
{take}
kill -KILL $PPID
"""
TAKEN = '$REAL "$@" >/dev/null'


@pytest.fixture
def user(tmp_path: Path, slurm: PrivateSlurm) -> Submitter:
    return Submitter(tmp_path, slurm)


def phases(user: Submitter) -> dict[str, set[str]]:
    return {
        name: {task["phase"] for task in tasks} for name, tasks in user.status()["jobs"].items()
    }


@pytest.mark.parametrize(
    ("job", "taken"),
    [("train", True), ("eval-checkpoint-1", True), ("collect", False)],
    ids=["the-first-taken", "an-array-taken", "the-last-not-taken"],
)
def test_killed_while_sbatch_runs(user: Submitter, job: str, taken: bool) -> None:
    user.program("sbatch", KILL.format(job=job, take=TAKEN if taken else ":"))
    killed = user.submit()
    assert killed.returncode == -9
    there = JOBS[: JOBS.index(job) + taken]
    assert set(user.queue()) == set(there)
    # Seen by status, which also learns the id that nobody was told.
    assert phases(user) == {name: {"pending"} if name in there else {"cancelled"} for name in JOBS}
    shown = user.harness("status").stdout
    for name in there:
        assert f"{name}: job {user.queue()[name]}: " in shown
    missing = [name for name in JOBS if name not in there]
    assert shown.count("never submitted: the submission was interrupted") >= len(missing)
    if there:
        assert "is not over" in user.harness("retry").stderr
    cancelled = user.harness("cancel")
    assert cancelled.returncode == 0, cancelled.stderr
    assert user.queue() == {}
    # Nobody has to know a Slurm command, nor to say that anything was forgotten.
    user.program("sbatch", 'exec $REAL "$@"')
    again = user.harness("retry")
    assert again.returncode == 0, again.stderr
    assert set(user.queue()) == set(JOBS)
    assert user.ids() == user.queue()
    assert phases(user) == {name: {"pending"} for name in JOBS}


def test_a_job_in_flight_can_do_its_work_once_its_run_is_looked_at(user: Submitter) -> None:
    user.program("sbatch", KILL.format(job="eval-checkpoint-1", take=TAKEN))
    assert user.submit().returncode == -9
    logs = user.run() / "logs" / "eval-checkpoint-1"
    assert not list(logs.glob("*_submitted.pkl"))
    user.status()
    array = user.queue()["eval-checkpoint-1"]
    assert {p.name for p in logs.glob("*_submitted.pkl")} == {
        f"{array}_{task}_submitted.pkl" for task in (0, 1)
    }


def test_killed_in_a_retry(user: Submitter) -> None:
    assert user.submit().returncode == 0
    first = user.queue()
    assert user.harness("cancel").returncode == 0
    user.program("sbatch", KILL.format(job="eval-checkpoint-1", take=TAKEN))
    assert user.harness("retry").returncode == -9
    second = user.queue()
    assert set(second) == {"train", "eval-checkpoint-1"}
    state = user.harness("status").stdout
    for name in second:
        assert second[name] != first[name]
        assert f"{name}: job {second[name]}: " in state
    assert "is not over" in user.harness("retry").stderr
    assert user.harness("cancel").returncode == 0
    assert user.queue() == {}


def test_killed_before_the_first_job_and_while_the_folder_is_written(
    user: Submitter, slurm: PrivateSlurm
) -> None:
    # `git` is asked for the commit while the folder is still a partial one.
    user.program("git", "kill -KILL $PPID")
    assert user.submit().returncode == -9
    assert not list((user.folder / "runs").glob("*/2*/manifest.json"))
    nothing = user.harness("status")
    assert (nothing.returncode, "Traceback" in nothing.stderr) == (2, False), nothing.stderr
    assert user.queue() == {}
