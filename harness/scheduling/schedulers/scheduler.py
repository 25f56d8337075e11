"""What Slurm and the local scheduler have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
        after: Sequence[Dependency],
        site: Site,
        run_job: RunJob,
        tasks: Sequence[int] = (),
    ) -> str:
        """Submit a job's script in the run folder, of an array only `tasks` where some are named.

        The job calls `run_job`, and has the name `submitted_name`. Returns its id. Raises
        SubmissionError, which says how sure it is that no job was taken.
        """

    def find(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Ids of the jobs that were submitted under these names, the newest last.

        A name that the scheduler does not know is absent. Raises SchedulerError.
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


_FROM_SHELL = ("account", "partition", "qos", "reservation", "constraint", "wckey")
"""Options of which the user's own SBATCH_* variable is a default: who pays, and where."""


def submitted_name(run: RunPaths, job: str) -> str:
    """The name under which a job of a run is submitted, and by which it can be found again."""
    return f"{run.name}.{run.run_id}:{job}"


def shell_defaults(job: PlannedJob, variables: Mapping[str, str]) -> list[str]:
    """sbatch options that the shell's SBATCH_* variables give where the site says nothing.

    Slurm itself lets them win over a script's own lines; whatever else they ask for (SBATCH_GRES,
    SBATCH_ARRAY_INX, SBATCH_WAIT, …) is not what was planned, and is left out.
    """
    options = job.options
    given = {name: variables.get(f"SBATCH_{name.upper()}") for name in _FROM_SHELL}
    return [
        f"--{name}={value}"
        for name, value in given.items()
        if value and getattr(options, name, None) is None and name not in options.extra
    ]


def sbatch_options(
    name: str, after: Sequence[Dependency], job: PlannedJob, tasks: Sequence[int] = ()
) -> list[str]:
    """The options that are known only on submission; they override the script's own.

    `--export=ALL` is sbatch's default, said for sites whose own sbatch has another.
    """
    options = [f"--job-name={name}", "--export=ALL"]
    if after:
        options.append("--dependency=" + ",".join(f"{d.condition}:{d.job_id}" for d in after))
    if tasks:
        limit = job.options.max_parallel_tasks
        options.append(f"--array={','.join(map(str, tasks))}" + (f"%{limit}" if limit else ""))
    return options
