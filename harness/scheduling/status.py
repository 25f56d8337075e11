"""The state of every planned job and cell: what its files say, and what the scheduler says."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import ResultError, SchedulerError
from harness.plan.plan import Cell, PlannedJob
from harness.runs.checkpoints import read_marker
from harness.runs.files import read_json
from harness.runs.metrics import CellState, TaskRecord, read_metrics, read_task
from harness.runs.paths import BASE, RunPaths
from harness.plan.manifest import Manifest, read_manifest
from harness.runs.progress import read_progress
from harness.scheduling.release import checkpoints_dir, scheduler_of
from harness.scheduling.scheduler import JobState

_UNKNOWN = JobState("unknown")


@dataclass(frozen=True)
class CellStatus:
    """One planned cell: its state, why, and the log that tells more."""

    cell: Cell
    state: CellState
    reason: str = ""
    log: str = ""
    record: TaskRecord | None = None


@dataclass(frozen=True)
class RunStatus:
    """A run as it stands."""

    run: RunPaths
    manifest: Manifest
    jobs: dict[str, list[JobState]]
    """By job name, one state per task."""
    cells: list[CellStatus]
    train: dict[str, object] = field(default_factory=dict)
    """train/state.json and the last logged step (progress.py); empty before training has begun."""
    server: dict[str, object] = field(default_factory=dict)
    """serve/state.json of a server of its own."""
    problem: str = ""
    """Why the scheduler could not be asked; then states come from files alone."""

    @property
    def ended(self) -> bool:
        """Every job has ended (never true when the scheduler cannot be asked)."""
        return not self.problem and all(s.ended for states in self.jobs.values() for s in states)


def run_status(run: RunPaths) -> RunStatus:
    """Ask files and scheduler. Raises ResultError when the manifest is unreadable."""
    manifest = read_manifest(run)
    problem, found = "", {}
    try:
        ids = [s.id for s in manifest.submissions]
        found = scheduler_of(run, manifest).states(ids)
    except SchedulerError as error:
        problem = str(error)
    jobs = {job.name: _job_states(run, job, manifest, found) for job in manifest.plan.jobs}
    cells = []
    for cell in manifest.plan.cells:
        cells.append(_cell_status(run, manifest, cell, jobs))
    train = _as_the_job_ended(read_progress(run), jobs.get("train", [_UNKNOWN])[0])
    server = read_json(run.serve_state) if run.serve_state.is_file() else {}
    return RunStatus(run, manifest, jobs, cells, train, server, problem)


def _as_the_job_ended(train: dict[str, Any], job: JobState) -> dict[str, Any]:
    """A job that was killed outright left its last word unwritten: its state still says running."""
    if train.get("state") != "running" or not job.ended:
        return train
    reason = f"its job ended without a last word ({job.detail or job.phase})"
    return {**train, "state": "failed", "error": reason}


def _job_states(
    run: RunPaths, job: PlannedJob, manifest: Manifest, found: dict[str, JobState]
) -> list[JobState]:
    states = []
    for index in range(max(len(job.tasks), 1)):
        job_id = manifest.job_id(job.name, index if job.is_array else None)
        if job_id is None:
            states.append(JobState("unknown", "never submitted"))
            continue
        key = f"{job_id}_{index}" if job.is_array else job_id
        # An array cancelled before it started is told by sacct under its bare id.
        state = found.get(key, found.get(job_id, _UNKNOWN))
        if state.phase == "unknown":
            state = _from_result(run.logs(job.name) / f"{key}_0_result.pkl")
        states.append(state)
    return states


def _from_result(file: Path) -> JobState:
    """What submitit's result says, for a job that Slurm has forgotten (a site without sacct)."""
    if not file.is_file():
        return _UNKNOWN
    outcome, _ = pickle.loads(file.read_bytes())  # our own file: ("success" or "error", text)
    return JobState("completed") if outcome == "success" else JobState("failed", "see its log")


def task_log(run: RunPaths, manifest: Manifest, job: PlannedJob, index: int) -> str:
    """submitit's log of a task's errors."""
    job_id = manifest.job_id(job.name, index if job.is_array else None) or "?"
    stem = f"{job_id}_{index}" if job.is_array else job_id
    return str(run.logs(job.name) / f"{stem}_0_log.err")


def _cell_status(
    run: RunPaths, manifest: Manifest, cell: Cell, jobs: Mapping[str, Sequence[JobState]]
) -> CellStatus:
    job, index = manifest.plan.job_of(cell)
    try:
        record = read_task(run.cell(cell.checkpoint, cell.benchmark))
    except ResultError as error:
        return CellStatus(cell, "invalid", str(error), task_log(run, manifest, job, index))
    judging = manifest.plan.judging(cell)
    if judging and record and is_answered(record):
        job, index = judging, 0
    state, log = jobs[job.name][index], task_log(run, manifest, job, index)
    if record is not None and record.state == "ok":
        return _finished(run, cell, record, log)
    tries = [
        s for s in manifest.submissions if s.job == job.name and index in (s.tasks or (index,))
    ]
    if record is not None and len(tries) > 1 and "" < record.ended < tries[-1].time:
        record = None  # of an earlier submission, which the newest is to mend
    if state.phase == "pending":
        waits = "Dependency" in state.detail or state.detail.startswith("waits")
        return CellStatus(cell, "waiting" if waits else "queued", state.detail, log, record)
    if record is not None and record.state != "running" and record.state != "answered":
        return CellStatus(cell, record.state, record.reason, record.log or log, record)
    if state.phase == "running":
        if record is None and job.is_array and len(job.tasks[index]) > 1:
            return CellStatus(cell, "queued", "its turn in the task has not come", log)
        return CellStatus(cell, "running", "", log, record)
    if state.phase == "unknown":
        reason = state.detail or "the scheduler does not know its job"
        return CellStatus(cell, "waiting" if record is None else "running", reason, log, record)
    reason = f"its task ended without a result ({state.detail or state.phase})"
    return CellStatus(cell, "failed", reason, log, record)


def is_answered(record: TaskRecord) -> bool:
    """Whether all that a cell still needs is its judge, in a job of its own."""
    return record.state == "answered" or bool(record.facts.get("answers_kept"))


def _finished(run: RunPaths, cell: Cell, record: TaskRecord, log: str) -> CellStatus:
    """A cell that says ok: its metrics must be there, and its checkpoint still the same."""
    try:
        metrics = read_metrics(run.cell(cell.checkpoint, cell.benchmark).metrics)
        if cell.benchmark not in metrics:
            raise ResultError(f"metrics.json has no {cell.benchmark}")
        if cell.checkpoint != BASE:
            marker = read_marker(checkpoints_dir(run) / cell.checkpoint)
            now = marker and marker.get("fingerprint")
            # A checkpoint pruned after its evaluation leaves its numbers valid.
            if now and now != record.facts.get("fingerprint"):
                reason = f"made by {record.facts.get('fingerprint')}, the checkpoint is {now} now"
                return CellStatus(cell, "stale", reason, log, record)
    except ResultError as error:
        return CellStatus(cell, "invalid", str(error), log, record)
    return CellStatus(cell, "ok", record.reason, record.log or log, record)
