"""Where a run's plan is read from, and where the log of each of its tasks is."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ResultError
from harness.plan.facts import RunFacts
from harness.plan.manifest import Submission, write_manifest
from harness.runs.files import utc_now
from harness.runs.paths import RunPaths
from tests.plan.test_manifest import PLAN, manifest

ARRAY = PLAN.job("eval-checkpoint-4")


def facts(folder: Path, *jobs: tuple[str, str, tuple[int, ...]]) -> RunFacts:
    run = RunPaths(folder / "run" / "20260101-000000-aaaa")
    submissions = [Submission(job=j, id=i, time=utc_now(), tasks=t) for j, i, t in jobs]
    write_manifest(run, manifest(*submissions))
    return RunFacts(run)


def logs(found: RunFacts, job: str) -> str:
    return str(found.run.root / "logs" / job)


def test_a_single_jobs_log_is_of_its_newest_submission(tmp_path: Path) -> None:
    found = facts(tmp_path, ("train", "7", ()), ("train", "9", ()))
    assert found.task_log(found.plan.job("train")) == f"{logs(found, 'train')}/9_0_log.err"


def test_an_array_tasks_log_is_of_its_own_newest_submission(tmp_path: Path) -> None:
    found = facts(tmp_path, (ARRAY.name, "7", ()), (ARRAY.name, "9", (1,)))
    assert [found.task_log(ARRAY, task) for task in (0, 1)] == [
        f"{logs(found, ARRAY.name)}/7_0_0_log.err",
        f"{logs(found, ARRAY.name)}/9_1_0_log.err",
    ]


def test_a_job_that_was_never_submitted_has_no_number_in_its_log(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert found.task_log(found.plan.job("train")) == f"{logs(found, 'train')}/?_0_log.err"
    assert found.task_log(ARRAY, 1) == f"{logs(found, ARRAY.name)}/?_1_0_log.err"


def test_the_manifest_is_read_once(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert found.plan == PLAN
    found.run.manifest.unlink()
    assert found.manifest.plan is found.plan
    with pytest.raises(ResultError, match=r"manifest\.json: no such file"):
        _ = RunFacts(found.run).plan
