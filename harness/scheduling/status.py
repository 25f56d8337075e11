"""The state of a run: every planned job and cell, from its files and from the scheduler."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import SchedulerError
from harness.plan.facts import RunFacts
from harness.plan.manifest import Manifest
from harness.plan.plan import PlannedJob
from harness.runs.files import read_json
from harness.runs.paths import RunPaths
from harness.runs.progress import read_progress
from harness.scheduling.cells import CellStatus, cell_status
from harness.scheduling.interrupted import take_up
from harness.scheduling.schedulers.named import scheduler_named
from harness.scheduling.schedulers.scheduler import JobState

_UNKNOWN = JobState("unknown")


@dataclass(frozen=True)
class RunStatus:
    """A run as it stands."""

    facts: RunFacts
    """What its files said, read once for this look."""
    jobs: dict[str, list[JobState]]
    """By job name, one state per task."""
    cells: list[CellStatus]
    train: dict[str, object] = field(default_factory=dict)
    """train/state.json and the last logged step (runs/progress.py); empty before training."""
    server: dict[str, object] = field(default_factory=dict)
    """serve/state.json of a server of its own."""
    problem: str = ""
    """Why the scheduler could not be asked; then states come from files alone."""

    @property
    def run(self) -> RunPaths:
        return self.facts.run

    @property
    def manifest(self) -> Manifest:
        return self.facts.manifest

    @property
    def ended(self) -> bool:
        """Every job has ended (never true when the scheduler cannot be asked)."""
        return not self.problem and all(s.ended for states in self.jobs.values() for s in states)


def run_status(run: RunPaths) -> RunStatus:
    """Ask files and scheduler. Raises ResultError when the manifest is unreadable."""
    facts = RunFacts(run)
    problem, found = "", {}
    unsubmitted: dict[str, JobState] = {}
    scheduler = scheduler_named(facts.manifest.scheduler, run)
    try:
        facts, unsubmitted = take_up(facts, scheduler)
        found = scheduler.states([s.id for s in facts.manifest.submissions])
    except SchedulerError as error:
        problem = str(error)
    jobs = {
        job.name: _job_states(facts, job, found, unsubmitted.get(job.name))
        for job in facts.plan.jobs
    }
    cells = [cell_status(facts, cell, jobs) for cell in facts.plan.cells]
    train = _as_the_job_ended(read_progress(run), jobs.get("train", [_UNKNOWN])[0])
    server = read_json(run.serve_state) if run.serve_state.is_file() else {}
    return RunStatus(facts, jobs, cells, train, server, problem)


def _as_the_job_ended(train: dict[str, Any], job: JobState) -> dict[str, Any]:
    """A job that was killed outright left its last word unwritten: its state still says running."""
    if train.get("state") != "running" or not job.ended:
        return train
    reason = f"its job ended without a last word ({job.detail or job.phase})"
    return {**train, "state": "failed", "error": reason}


def _job_states(
    facts: RunFacts, job: PlannedJob, found: dict[str, JobState], unsubmitted: JobState | None
) -> list[JobState]:
    """One a task. `unsubmitted`: of a job that was announced and has no id, or is to have another."""
    states = []
    for index in range(max(len(job.tasks), 1)):
        job_id = facts.manifest.job_id(job.name, index if job.is_array else None)
        if unsubmitted is not None and (job_id is None or not unsubmitted.ended):
            states.append(unsubmitted)
            continue
        if job_id is None:
            states.append(JobState("unknown", "never submitted"))
            continue
        key = f"{job_id}_{index}" if job.is_array else job_id
        # An array cancelled before it started is told by sacct under its bare id.
        state = found.get(key, found.get(job_id, _UNKNOWN))
        if state.phase == "unknown":
            state = _from_result(facts.run.logs(job.name) / f"{key}_0_result.pkl")
        states.append(state)
    return states


def _from_result(file: Path) -> JobState:
    """What submitit's result says, for a job that Slurm has forgotten (a site without sacct)."""
    if not file.is_file():
        return _UNKNOWN
    outcome, _ = pickle.loads(file.read_bytes())  # our own file: ("success" or "error", text)
    return JobState("completed") if outcome == "success" else JobState("failed", "see its log")
