"""Runs of ours in a tree: each as its own `collect` shows it, the scheduler asked once and late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import ResultError, SchedulerError, UserError
from harness.plan.facts import RunFacts
from harness.results.batch import is_run, open_run, run_tables
from harness.results.collect import run_table
from harness.results.walk import Walk
from harness.runs.metrics import TaskRecord, write_task
from harness.runs.paths import RunPaths
from harness.scheduling import status as status_module
from harness.scheduling.schedulers.scheduler import JobState
from harness.scheduling.status import run_status
from tests.plan.test_plan import make_spec
from tests.results.trees import metrics, write
from tests.scheduling.test_cells import planned

ARRAYS = {f"eval-checkpoint-{step}": str(step) for step in (4, 8, 10)}


class Asked:
    """A scheduler that keeps what it is asked for."""

    name = "slurm"

    def __init__(self, problem: str = "") -> None:
        self.problem = problem
        self.ids: list[list[str]] = []

    def states(self, ids: Any) -> dict[str, JobState]:
        self.ids.append(list(ids))
        if self.problem:
            raise SchedulerError(self.problem)
        return {f"{job}_0": JobState("running", "RUNNING") for job in ids}


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    monkeypatch.setattr(status_module, "scheduler_named", lambda name, run: asked)
    return asked


def run_of(folder: Path, name: str, *done: str, jobs: dict[str, str] = ARRAYS) -> RunPaths:
    """A run of checkpoints 4, 8 and 10 x gsm8k, of which these are ok."""
    run = planned(folder / name, make_spec(benchmarks=["gsm8k"]), jobs)
    for checkpoint in done:
        write(run.cell(checkpoint, "gsm8k").metrics, metrics(50.0))
        write_task(run.cell(checkpoint, "gsm8k"), TaskRecord(state="ok"))
    return run


WHOLE = ("checkpoint-4", "checkpoint-8", "checkpoint-10")


def tables(*runs: RunPaths) -> list[Any]:
    opened = {run.root.parts: RunFacts(run) for run in runs}
    labels = {run.root.parts: run.root.parts[-3] for run in runs}
    return list(run_tables(opened, labels, lambda text: None))


def test_slurm_is_asked_once_for_all_runs_and_not_for_whole_ones(
    tmp_path: Path, slurm: Asked
) -> None:
    (whole,) = tables(run_of(tmp_path, "w", *WHOLE))
    assert (slurm.ids, whole.is_complete) == ([], True)
    parts = [run_of(tmp_path, name, "checkpoint-4") for name in ("a", "b")]
    found = tables(run_of(tmp_path, "v", *WHOLE), *parts)
    assert slurm.ids == [["4", "8", "10"] * 2]
    assert [(p.run, p.checkpoint, p.state) for table in found for p in table.problems] == [
        (name, checkpoint, "running") for name in ("a", "b") for checkpoint in WHOLE[1:]
    ]


def test_a_run_in_a_batch_is_the_run_as_it_shows_itself(tmp_path: Path, slurm: Asked) -> None:
    run = run_of(tmp_path, "a", "checkpoint-4")
    write_task(run.cell("checkpoint-8", "gsm8k"), TaskRecord(state="invalid", reason="why"))
    (table,) = tables(run)
    alone = run_table(run_status(run))
    assert [row.values for row in table.rows] == [row.values for row in alone.rows]
    assert [(p.checkpoint, p.state, p.reason) for p in table.problems] == [
        (p.checkpoint, p.state, p.reason) for p in alone.problems
    ]
    assert {row.run for row in table.rows} == {p.run for p in table.problems} == {"a"}
    assert (table.planned, table.columns) == (alone.planned, alone.columns)


def test_a_scheduler_that_cannot_be_asked_is_a_note_and_ends_nothing(
    tmp_path: Path, slurm: Asked
) -> None:
    slurm.problem = "controller down"
    (table,) = tables(run_of(tmp_path, "a", "checkpoint-4"))
    assert table.notes == ("a the scheduler could not be asked: controller down",)
    assert {p.state for p in table.problems} == {"waiting"}


def test_a_run_without_cells_has_no_table_and_that_is_said(tmp_path: Path, slurm: Asked) -> None:
    spec = make_spec().model_copy(update={"evaluation": None})
    (table,) = tables(planned(tmp_path / "t", spec, {"train": "1"}))
    assert (table.rows, table.problems) == ((), ())
    assert table.notes == ("t: no evaluation is planned: it has no table",)


def test_a_run_is_known_by_its_id_or_renamed_by_its_manifest(tmp_path: Path) -> None:
    run = run_of(tmp_path, "a")
    renamed = run.root.rename(tmp_path / "copied")
    write(tmp_path / "other" / "manifest.json", {"name": "of another program"})
    write(tmp_path / "torn" / "manifest.json", "{")
    write(tmp_path / "20260101-000000-zzzz" / "manifest.json", "{")
    found = {folder.name: folder for folder in Walk(tmp_path)}
    known = {name for name, folder in found.items() if is_run(folder)}
    assert known == {"copied", "20260101-000000-zzzz"}
    assert open_run(found["copied"]).run.root == renamed
    with pytest.raises(ResultError, match="cannot be read as JSON"):
        open_run(found["20260101-000000-zzzz"])
    (renamed / "spec.yaml").write_text("name: [")
    with pytest.raises(UserError, match=r"spec\.yaml"):
        open_run(found["copied"])
