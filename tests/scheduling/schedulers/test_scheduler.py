"""A job's state in words, and the sbatch options that are known only on submission."""

from __future__ import annotations

from typing import Any

import pytest

from harness.config.site import SlurmOptions
from harness.plan.plan import Cell, PlannedJob
from harness.scheduling.schedulers.scheduler import Dependency, JobState, sbatch_options


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


def test_dependencies_are_one_option() -> None:
    after = [Dependency("afterok", "12"), Dependency("afterany", "13")]
    assert sbatch_options(after) == ["--dependency=afterok:12,afterany:13"]
    assert sbatch_options(after[:1], array()) == ["--dependency=afterok:12"]


def test_some_tasks_of_an_array_keep_its_throttle() -> None:
    assert sbatch_options([], array(), [0]) == ["--array=0"]
    assert sbatch_options([], array(2), [1, 3]) == ["--array=1,3%2"]
    assert sbatch_options([Dependency("afterok", "1")], array(2), [4]) == [
        "--dependency=afterok:1", "--array=4%2",
    ]  # fmt: skip


def test_where_nothing_is_known_the_scripts_own_options_hold() -> None:
    assert sbatch_options([]) == sbatch_options([], array(2)) == []
