"""The pickles that submitit loads in a job: references, under the name that it looks for."""

from __future__ import annotations

import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import pytest
from submitit.core.utils import DelayedSubmission, JobPaths

from harness.config.site import SlurmOptions
from harness.entry import run_job
from harness.plan.plan import Cell, PlannedJob
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers.calls import name_calls, write_calls


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    paths = RunPaths(tmp_path / "it's a run é" / "20260101-000000-aaaa")
    paths.logs("eval").mkdir(parents=True)
    return paths


def planned(tasks: int) -> PlannedJob:
    cells = tuple((Cell(checkpoint="c", benchmark=str(n)),) for n in range(tasks))
    return PlannedJob(
        name="eval", work="evaluate", kind="evaluate", role="evaluate", tasks=cells,
        options=SlurmOptions(time_limit="1:30:00"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tasks", "chosen", "names"),
    [
        (0, (), {"7": 0}),
        (1, (), {"7_0": 0}),
        (3, (), {"7_0": 0, "7_1": 1, "7_2": 2}),
        (3, (0, 2), {"7_0": 0, "7_2": 2}),
    ],
    ids=["a-job", "an-array-of-one", "an-array", "some-tasks"],
)
def test_submitit_finds_the_call_of_each_task_by_the_jobs_id(
    run: RunPaths, tasks: int, chosen: tuple[int, ...], names: dict[str, int]
) -> None:
    job = planned(tasks)
    write_calls(run, job, run_job, chosen)
    assert not list(run.logs("eval").glob("*_submitted.pkl"))
    name_calls(run, job, "7", chosen)
    assert len(list(run.logs("eval").glob("*_submitted.pkl"))) == len(names)
    for job_id, index in names.items():
        delayed = DelayedSubmission.load(JobPaths(run.logs("eval"), job_id).submitted_pickle)
        assert (delayed.function, delayed.args) == (run_job, (str(run.root), "eval", index))
        assert delayed._timeout_min == 90
        assert hasattr(delayed.function, "checkpoint")


def test_a_call_may_be_named_twice_and_by_another_submission(run: RunPaths) -> None:
    job = planned(2)
    write_calls(run, job, run_job)
    name_calls(run, job, "7")
    first = (run.logs("eval") / "7_1_submitted.pkl").read_bytes()
    name_calls(run, job, "7")
    write_calls(run, job, run_job, [1])
    name_calls(run, job, "8", [1])
    assert (run.logs("eval") / "7_1_submitted.pkl").read_bytes() == first
    assert (run.logs("eval") / "8_1_submitted.pkl").is_file()
    assert not (run.logs("eval") / "8_0_submitted.pkl").exists()


def test_a_file_system_without_second_names_has_copies(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    write_calls(run, planned(0), run_job)
    name_calls(run, planned(0), "7")
    assert sorted(p.name for p in run.logs("eval").iterdir()) == ["7_submitted.pkl", "call-0.pkl"]
    assert pickle.loads((run.logs("eval") / "7_submitted.pkl").read_bytes()).function is run_job


def test_a_call_holds_no_code(run: RunPaths) -> None:
    write_calls(run, planned(0), run_job)
    data = (run.logs("eval") / "call-0.pkl").read_bytes()
    names = [str(arg) for _, arg, _ in pickletools.genops(data) if arg is not None]
    assert "harness.entry" in names
    assert not [n for n in names if "CodeType" in n or "_make_function" in n]
    assert pickle.loads(data).function is run_job
