"""What submitit finds in a job: for each task, the pickled call that it makes.

submitit (1.5.4, core/submission.py) looks for a pickle named after the job's id, which nobody knows
before the job is submitted: it is written before under the task's number, and is given the id's
name afterwards, by whoever learns the id.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.plan.plan import PlannedJob
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers.scheduler import RunJob

_TIMEOUTS = 1000
"""How often submitit requeues a job that reached its time limit."""


def task_indices(job: PlannedJob, tasks: Sequence[int] = ()) -> tuple[int, ...]:
    """Which tasks of an array are submitted: those named, else all; empty for no array."""
    return tuple(tasks or range(len(job.tasks)))


def write_calls(run: RunPaths, job: PlannedJob, run_job: RunJob, tasks: Sequence[int] = ()) -> None:
    """Pickle the call of each task: a reference to `run_job`, plain strings and a number."""
    from submitit.core.utils import DelayedSubmission

    for index in task_indices(job, tasks) or (0,):
        delayed = DelayedSubmission(run_job, str(run.root), job.name, index)
        delayed.set_timeout(job.minutes, _TIMEOUTS)
        file = _call(run, job, index)
        partial = file.with_suffix(".partial")
        delayed.dump(partial)
        os.replace(partial, file)


def name_calls(run: RunPaths, job: PlannedJob, job_id: str, tasks: Sequence[int] = ()) -> None:
    """Let the tasks of a job that has an id find their calls."""
    folder = run.logs(job.name)
    for index in task_indices(job, tasks) or (0,):
        own = f"{job_id}_{index}" if job.is_array else job_id
        with suppress(FileExistsError):
            _link(_call(run, job, index), folder / f"{own}_submitted.pkl")


def _call(run: RunPaths, job: PlannedJob, index: int) -> Path:
    return run.logs(job.name) / f"call-{index}.pkl"


def _link(source: Path, target: Path) -> None:
    """A second name, or a copy where the file system has no second names."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        partial = target.with_suffix(".partial")
        shutil.copyfile(source, partial)
        os.replace(partial, target)
