"""The state of a run: every planned job and cell, from its files and from the scheduler."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
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

Jobs = dict[str, list[JobState]]
"""By job name, one state per task."""
_UNKNOWN = JobState("unknown")
_IDS_A_CALL = 5000
"""Job ids in one call of squeue: an argument holds 128 KiB (Linux, MAX_ARG_STRLEN)."""


@dataclass(frozen=True)
class RunStatus:
    """A run as it stands."""

    facts: RunFacts
    """What its files said, read once for this look."""
    jobs: Jobs
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
    asked = job_states([facts])[0]
    facts, jobs = asked.facts, asked.jobs
    cells = list(cell_statuses(facts, jobs))
    train = _as_the_job_ended(read_progress(run), jobs.get("train", [_UNKNOWN])[0])
    server = read_json(run.serve_state) if run.serve_state.is_file() else {}
    return RunStatus(facts, jobs, cells, train, server, asked.problem)


@dataclass(frozen=True)
class Asked:
    """What the scheduler says of a run."""

    facts: RunFacts
    """With what an interrupted submission left in the queue."""
    jobs: Jobs
    problem: str
    """Why it could not be asked."""


def job_states(runs: Sequence[RunFacts]) -> list[Asked]:
    """What the scheduler says of each run. Slurm is asked once for all of them."""
    groups: dict[str, list[RunFacts]] = {}
    taken = [_take_up(facts) for facts in runs]
    for facts, _, _ in taken:
        groups.setdefault(_queue(facts), []).append(facts)
    told = {queue: _ask(group) for queue, group in groups.items()}
    asked = []
    for facts, unsubmitted, problem in taken:
        found, unasked = told[_queue(facts)]
        jobs = {
            job.name: _job_states(facts, job, found, unsubmitted.get(job.name))
            for job in facts.plan.jobs
        }
        asked.append(Asked(facts, jobs, problem or unasked))
    return asked


def _take_up(facts: RunFacts) -> tuple[RunFacts, dict[str, JobState], str]:
    try:
        return *take_up(facts, scheduler_named(facts.manifest.scheduler, facts.run)), ""
    except SchedulerError as error:
        return facts, {}, str(error)


def _queue(facts: RunFacts) -> str:
    """Whose jobs can be asked for at once: Slurm's; the local scheduler keeps those of one run."""
    name = facts.manifest.scheduler
    return name if name == "slurm" else str(facts.run.root)


def _ask(runs: Sequence[RunFacts]) -> tuple[dict[str, JobState], str]:
    """States by id, and why the scheduler of these runs could not be asked."""
    scheduler = scheduler_named(runs[0].manifest.scheduler, runs[0].run)
    ids = [s.id for facts in runs for s in facts.manifest.submissions]
    found: dict[str, JobState] = {}
    try:
        for start in range(0, len(ids), _IDS_A_CALL):
            found |= scheduler.states(ids[start : start + _IDS_A_CALL])
    except SchedulerError as error:
        return {}, str(error)
    return found, ""


def cell_statuses(facts: RunFacts, jobs: Jobs) -> Iterator[CellStatus]:
    """Every planned cell, one after the other."""
    return (cell_status(facts, cell, jobs) for cell in facts.plan.cells)


def unasked(facts: RunFacts) -> Jobs:
    """States of a run's jobs for who has not asked: unknown, as for a cell that is ok they may be."""
    return {job.name: [_UNKNOWN] * max(len(job.tasks), 1) for job in facts.plan.jobs}


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
