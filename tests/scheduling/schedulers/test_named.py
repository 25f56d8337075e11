"""The scheduler of a run, by the name in its manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import SchedulerError
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers.local import LocalScheduler
from harness.scheduling.schedulers.local_queue import QueuedJob, changing
from harness.scheduling.schedulers.named import scheduler_named
from harness.scheduling.schedulers.slurm import SlurmScheduler


def test_each_name_has_its_scheduler_and_tells_it(tmp_path: Path) -> None:
    run = RunPaths(tmp_path)
    local, slurm = scheduler_named("local", run), scheduler_named("slurm", run)
    assert (type(local), local.name) == (LocalScheduler, "local")
    assert (type(slurm), slurm.name) == (SlurmScheduler, "slurm")
    assert list(tmp_path.iterdir()) == []


def test_a_local_scheduler_knows_the_jobs_of_its_own_run_only(tmp_path: Path) -> None:
    one, other = RunPaths(tmp_path / "1"), RunPaths(tmp_path / "2")
    job = QueuedJob(id="1", name="x", script="s", array=False, minutes=1)
    with changing(one) as box:
        box[0] = box[0].model_copy(update={"jobs": (job,), "runner_pid": 0})
    assert scheduler_named("local", one).states(["1"])["1"].phase == "failed"  # nothing runs it
    assert scheduler_named("local", other).states(["1"])["1"].phase == "unknown"
    with pytest.raises(SchedulerError, match="1: no such job"):
        scheduler_named("local", other).release("1")
