"""A job's state in words, and the sbatch options that are known only on submission."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config.site import SlurmOptions
from harness.plan.plan import Cell, PlannedJob
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers.scheduler import (
    Dependency,
    JobState,
    sbatch_options,
    shell_defaults,
    submitted_name,
)


@pytest.mark.parametrize(
    ("phase", "ended"),
    [("pending", False), ("running", False), ("unknown", False),
     ("completed", True), ("failed", True), ("cancelled", True)],
)  # fmt: skip
def test_unknown_has_not_ended(phase: Any, ended: bool) -> None:
    assert JobState(phase).ended is ended


@pytest.mark.parametrize(
    ("phase", "detail", "text"),
    [
        ("running", "", "running"),
        ("running", "RUNNING", "RUNNING"),
        ("pending", "PENDING (Dependency)", "PENDING (Dependency)"),
        ("failed", "TIMEOUT", "failed: TIMEOUT"),
        ("failed", "FAILED (exit 3:0)", "FAILED (exit 3:0)"),
        ("unknown", "never submitted", "unknown: never submitted"),
        ("pending", "waits for 1, 2", "pending: waits for 1, 2"),
    ],
)
def test_a_state_says_its_phase_once(phase: Any, detail: str, text: str) -> None:
    assert str(JobState(phase, detail)) == text


def array(limit: int | None = None) -> PlannedJob:
    tasks = tuple((Cell(checkpoint="c", benchmark=str(n)),) for n in range(5))
    options = SlurmOptions(max_parallel_tasks=limit)
    return PlannedJob(
        name="eval-c",
        work="evaluate",
        kind="evaluate",
        role="evaluate",
        tasks=tasks,
        options=options,
    )


OURS = ["--job-name=run.id:eval-c", "--export=ALL"]


def submission(*after: Dependency, limit: int | None = None, tasks: tuple[int, ...] = ()) -> Any:
    options = sbatch_options("run.id:eval-c", after, array(limit), tasks)
    assert options[:2] == OURS
    return options[2:]


def test_dependencies_are_one_option() -> None:
    after = [Dependency("afterok", "12"), Dependency("afterany", "13")]
    assert submission(*after) == ["--dependency=afterok:12,afterany:13"]
    assert submission(after[0]) == ["--dependency=afterok:12"]


def test_some_tasks_of_an_array_keep_its_throttle() -> None:
    assert submission(tasks=(0,)) == ["--array=0"]
    assert submission(limit=2, tasks=(1, 3)) == ["--array=1,3%2"]
    assert submission(Dependency("afterok", "1"), limit=2, tasks=(4,)) == [
        "--dependency=afterok:1", "--array=4%2",
    ]  # fmt: skip


def test_where_nothing_is_known_the_scripts_own_options_hold() -> None:
    assert submission() == submission(limit=2) == []


def test_a_job_has_a_name_of_its_run_in_slurm() -> None:
    run = RunPaths(Path("/runs/my-run/20260101-000000-aaaa"))
    assert submitted_name(run, "train") == "my-run.20260101-000000-aaaa:train"


SHELL = {
    "SBATCH_ACCOUNT": "lab", "SBATCH_PARTITION": "gpu", "SBATCH_QOS": "high", "SBATCH_WCKEY": "w",
    "SBATCH_RESERVATION": "r", "SBATCH_CONSTRAINT": "a100&nvlink", "SBATCH_GRES": "gpu:1",
    "SBATCH_TIMELIMIT": "1", "SBATCH_EXPORT": "NONE", "SBATCH_ARRAY_INX": "0-99", "SBATCH_WAIT": "1",
}  # fmt: skip


def test_the_users_own_account_and_place_are_defaults_and_nothing_else_is() -> None:
    assert shell_defaults(array(), SHELL) == [
        "--account=lab", "--partition=gpu", "--qos=high", "--reservation=r",
        "--constraint=a100&nvlink", "--wckey=w",
    ]  # fmt: skip
    assert shell_defaults(array(), {"SBATCH_ACCOUNT": "", "PATH": "/bin"}) == []


def test_what_the_site_says_is_not_overridden_by_the_shell() -> None:
    said = SlurmOptions(
        account="a", partition="p", qos="q", reservation="s", constraint="c", extra={"wckey": "k"}
    )
    job = array().model_copy(update={"options": said})
    assert shell_defaults(job, SHELL) == []
