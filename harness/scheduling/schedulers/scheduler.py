"""What Slurm and the local scheduler have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from harness.config.site import Site
from harness.plan.plan import PlannedJob
from harness.runs.paths import RunPaths

RunJob = Callable[[str, str, int], str]
"""harness/entry.py's `run_job`: (run folder, job, task) -> how it ended."""
Phase = Literal["pending", "running", "completed", "failed", "cancelled", "unknown"]


@dataclass(frozen=True)
class JobState:
    """State of a job or array task: a phase, and Slurm's own words for it."""

    phase: Phase
    detail: str = ""

    @property
    def ended(self) -> bool:
        return self.phase in ("completed", "failed", "cancelled")

    def __str__(self) -> str:
        if not self.detail or self.detail.lower().startswith(self.phase):
            return self.detail or self.phase
        return f"{self.phase}: {self.detail}"


@dataclass(frozen=True)
class Dependency:
    """Wait for a submitted job: `afterok` or `afterany`."""

    condition: str
    job_id: str


class Scheduler(Protocol):
    """Submit, release, cancel, and tell states."""

    name: Literal["slurm", "local"]

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
        """Submit a rendered script, of an array only `tasks` where some are named.

        The job calls `run_job`. Returns its id. Raises SchedulerError.
        """

    def start(self, run: RunPaths, site: Site) -> None:
        """Everything is submitted: begin, where that is not the scheduler's own business."""

    def release(self, job_id: str) -> None:
        """Clear a job's dependency so that it may start. Raises SchedulerError."""

    def cancel(self, job_ids: Iterable[str]) -> None:
        """Cancel jobs; ended ones are left as they are. Raises SchedulerError."""

    def states(self, job_ids: Iterable[str]) -> dict[str, JobState]:
        """States by job id, and by `<id>_<index>` for array tasks.

        An id that the scheduler does not know is `unknown`, never ended.
        Raises SchedulerError when it cannot be asked.
        """


def sbatch_options(
    after: Sequence[Dependency], job: PlannedJob | None = None, tasks: Sequence[int] = ()
) -> list[str]:
    """The options that are known only on submission; they override the script's own."""
    options = []
    if after:
        options.append("--dependency=" + ",".join(f"{d.condition}:{d.job_id}" for d in after))
    if job is not None and tasks:
        limit = job.options.max_parallel_tasks
        options.append(f"--array={','.join(map(str, tasks))}" + (f"%{limit}" if limit else ""))
    return options
