"""Slurm: submission through submitit, states through squeue and sacct.

Parsers take text, so that they are tested on captured output.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Literal

from harness.config.site import Site
from harness.errors import CommandError, SchedulerError
from harness.plan.plan import PlannedJob
from harness.processes.environments import job_environment
from harness.processes.shell import call
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers.scheduler import (
    Dependency,
    JobState,
    Phase,
    RunJob,
    sbatch_options,
)

SQUEUE_FORMAT = "%i|%T|%r"
SACCT_FIELDS = "JobID,State,ExitCode"
# Slurm's compact and extended states: squeue(1), "JOB STATE CODES".
_PHASES: dict[str, Phase] = {
    "PENDING": "pending",
    "REQUEUED": "pending",
    "REQUEUE_HOLD": "pending",
    "REQUEUE_FED": "pending",
    "SPECIAL_EXIT": "pending",
    "CONFIGURING": "running",
    "RUNNING": "running",
    "COMPLETING": "running",
    "STAGE_OUT": "running",
    "STOPPED": "running",
    "SUSPENDED": "running",
    "RESIZING": "running",
    "SIGNALING": "running",
    "COMPLETED": "completed",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "FAILED": "failed",
    "TIMEOUT": "failed",
    "DEADLINE": "failed",
    "OUT_OF_MEMORY": "failed",
    "NODE_FAIL": "failed",
    "BOOT_FAIL": "failed",
    "PREEMPTED": "failed",
}


def is_available() -> bool:
    """Whether this machine can submit to Slurm."""
    return shutil.which("sbatch") is not None


class SlurmScheduler:
    """The real thing."""

    name: Literal["slurm", "local"] = "slurm"

    def submit(
        self,
        run: RunPaths,
        job: PlannedJob,
        script: str,
        after: Sequence[Dependency],
        site: Site,
        run_job: RunJob,
        tasks: Sequence[int] = (),
    ) -> str:
        from harness.scheduling.schedulers.executor import RenderedExecutor

        try:
            executor = RenderedExecutor(
                run.logs(job.name),
                script=script,
                sbatch=["sbatch", *sbatch_options(after, job, tasks)],
                minutes=job.minutes,
                tasks=task_indices(job, tasks),
            )
            with _only(job_environment(os.environ, site)):
                return executor.submit_calls(run_job, calls(run, job, tasks))
        except FileNotFoundError:
            raise SchedulerError("sbatch is not on this machine's PATH") from None
        except Exception as error:
            if type(error).__name__ not in ("FailedJobError", "FailedSubmissionError"):
                raise
            raise SchedulerError(f"sbatch refused {job.name}: {_reason(str(error))}") from None

    def start(self, run: RunPaths, site: Site) -> None:
        """Slurm starts jobs itself."""

    def release(self, job_id: str) -> None:
        self._call("scontrol", "update", f"jobid={job_id}", "dependency=")

    def cancel(self, job_ids: Iterable[str]) -> None:
        ids = list(job_ids)
        if ids:
            self._call("scancel", *ids)

    def states(self, job_ids: Iterable[str]) -> dict[str, JobState]:
        ids = list(dict.fromkeys(job_ids))
        if not ids:
            return {}
        queue_error: CommandError | None = None
        found: dict[str, JobState] = {}
        # Many sites run without accounting: then squeue alone must do.
        with suppress(CommandError):
            found = parse_sacct(
                call(["sacct", "-X", "-n", "-P", f"--format={SACCT_FIELDS}", "-j", ",".join(ids)])
            )
        try:
            found.update(
                parse_squeue(call(["squeue", "-h", "-r", "-t", "all", "-o", SQUEUE_FORMAT,
                                   "-j", ",".join(ids)]))
            )  # fmt: skip
        except CommandError as error:
            # squeue fails for ids that have left the queue; with several it leaves them out.
            if "Invalid job id" not in error.stderr:
                queue_error = error
        if queue_error is not None and not found:
            raise SchedulerError(f"Slurm cannot be asked for states: {queue_error}")
        known = {key.partition("_")[0] for key in found}
        found.update({job_id: JobState("unknown") for job_id in ids if job_id not in known})
        return found

    def _call(self, *argv: str) -> str:
        try:
            return call(argv)
        except CommandError as error:
            raise SchedulerError(str(error)) from None


def calls(run: RunPaths, job: PlannedJob, tasks: Sequence[int] = ()) -> list[tuple[str, str, int]]:
    """Arguments of `run_job` for each task of a job: plain strings and a number."""
    return [(str(run.root), job.name, index) for index in task_indices(job, tasks) or (0,)]


def task_indices(job: PlannedJob, tasks: Sequence[int] = ()) -> tuple[int, ...]:
    """Which tasks of an array are submitted: those named, else all; empty for no array."""
    return tuple(tasks or range(len(job.tasks)))


def parse_squeue(text: str) -> dict[str, JobState]:
    """`squeue -h -r -o '%i|%T|%r'`: id, state, reason."""
    states = {}
    for line in text.splitlines():
        job_id, state, reason = [*line.strip().split("|"), "", ""][:3]
        if job_id:
            detail = state if reason in ("", "None") else f"{state} ({reason})"
            states[job_id] = JobState(_phase(state), detail)
    return states


def parse_sacct(text: str) -> dict[str, JobState]:
    """`sacct -X -n -P --format=JobID,State,ExitCode`; pending arrays come as `12_[0-3]`."""
    states = {}
    for line in text.splitlines():
        job_id, state, code = [*line.strip().split("|"), "", ""][:3]
        for key in _expand(job_id):
            detail = state if code in ("", "0:0") else f"{state} (exit {code})"
            states[key] = JobState(_phase(state), detail)
    return states


def _expand(job_id: str) -> list[str]:
    """`12_[0-2,5%2]` -> `12_0`, `12_1`, `12_2`, `12_5`; any other id as it is."""
    base, bracket, inside = job_id.partition("_[")
    if not bracket:
        return [job_id] if job_id else []
    keys = []
    for part in inside.rstrip("]").partition("%")[0].split(","):
        first, _, last = part.partition("-")
        last = last.partition(":")[0]
        if first.isdigit():
            keys += [f"{base}_{i}" for i in range(int(first), int(last or first) + 1)]
    return keys


def _phase(state: str) -> Phase:
    """sacct writes `CANCELLED by 1000`; a state we do not know is unknown, never ended."""
    return _PHASES.get(state.partition(" ")[0].rstrip("+"), "unknown")


def _reason(text: str) -> str:
    """What sbatch said, out of submitit's long error."""
    lines = [line.strip() for line in text.splitlines() if "error:" in line]
    return " ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines) or text


class _only:
    """os.environ replaced for the time of a call: submitit gives sbatch its own environment."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = variables

    def __enter__(self) -> None:
        self._saved = dict(os.environ)
        os.environ.clear()
        os.environ.update(self._variables)

    def __exit__(self, *_: object) -> None:
        os.environ.clear()
        os.environ.update(self._saved)
