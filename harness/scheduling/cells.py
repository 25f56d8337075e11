"""What a planned cell's state is: the one place that decides, from its files and its job's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.errors import ResultError
from harness.plan.facts import RunFacts
from harness.plan.plan import Cell
from harness.runs.metrics import CellState, Metrics, TaskRecord, read_result, read_task
from harness.runs.paths import BASE, CellPaths
from harness.scheduling.schedulers.scheduler import JobState


@dataclass(frozen=True)
class CellStatus:
    """One planned cell: its state, why, and the log that tells more."""

    cell: Cell
    state: CellState
    reason: str = ""
    log: str = ""
    record: TaskRecord | None = None
    metrics: Metrics | None = None
    """Of a cell that is ok."""


def cell_status(facts: RunFacts, cell: Cell, jobs: Mapping[str, Sequence[JobState]]) -> CellStatus:
    """A cell as its files and the states of its jobs' tasks say."""
    job, index = facts.plan.job_of(cell)
    paths = facts.run.cell(cell.checkpoint, cell.benchmark)
    try:
        record = read_task(paths)
    except ResultError as error:
        return CellStatus(cell, "invalid", str(error), facts.task_log(job, index))
    judging = facts.plan.judging(cell)
    if judging and record and record.is_answered:
        job, index = judging, 0
    state, log = jobs[job.name][index], facts.task_log(job, index)
    if record is not None and record.state == "ok":
        return _finished(facts, cell, paths, record, log)
    tries = [s for s in facts.manifest.submissions_of(job.name) if index in (s.tasks or (index,))]
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


def _finished(
    facts: RunFacts, cell: Cell, paths: CellPaths, record: TaskRecord, log: str
) -> CellStatus:
    """A cell that says ok: its metrics must be there, and its checkpoint still the same."""
    try:
        metrics = read_result(paths, cell.benchmark, record)
        if cell.checkpoint != BASE and not facts.external:
            marker = facts.marker(cell.checkpoint)
            now = marker and marker.get("fingerprint")
            # A checkpoint pruned after its evaluation leaves its numbers valid.
            if now and now != record.facts.get("fingerprint"):
                reason = f"made by {record.facts.get('fingerprint')}, the checkpoint is {now} now"
                return CellStatus(cell, "stale", reason, log, record)
    except ResultError as error:
        return CellStatus(cell, "invalid", str(error), log, record)
    return CellStatus(cell, "ok", record.reason, record.log or log, record, metrics)
