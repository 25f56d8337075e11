"""The scheduler of a run, by the name in its manifest."""

from __future__ import annotations

from typing import Literal

from harness.runs.paths import RunPaths
from harness.scheduling.schedulers.local import LocalScheduler
from harness.scheduling.schedulers.scheduler import Scheduler
from harness.scheduling.schedulers.slurm import SlurmScheduler


def scheduler_named(name: Literal["slurm", "local"], run: RunPaths) -> Scheduler:
    """Where a run's jobs are submitted to."""
    return SlurmScheduler() if name == "slurm" else LocalScheduler(run)
