"""The same scripts without Slurm: one after the other on this machine, in dependency order.

The queue is in local_queue.py. This module's `main` is the runner: a process in a session of its
own, so it survives the terminal; it sets the SLURM_* variables that scripts and submitit read, and
`templates/local/srun` stands in for srun.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import psutil

from harness.config.site import Site
from harness.errors import SchedulerError
from harness.package import SHIPPED
from harness.plan.plan import PlannedJob
from harness.processes import tree
from harness.processes.environments import job_environment
from harness.processes.marked import living, marked
from harness.processes.shell import own_module
from harness.processes.supervisor import PR_SET_CHILD_SUBREAPER, prctl
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers.calls import name_calls, write_calls
from harness.scheduling.schedulers.local_queue import (
    ENDING,
    RUNNER_DIED,
    QueuedJob,
    bury_dead_runner,
    changing,
    enqueue,
    queue_file,
    read_queue,
)
from harness.scheduling.schedulers.scheduler import (
    Dependency,
    JobState,
    Phase,
    RunJob,
    sbatch_options,
    submitted_name,
)

_POLL_S = 0.2
_KILL_AFTER_S = 30
_TASK = "HARNESS_LOCAL_TASK"
"""In the environment of all that a task starts."""


class LocalScheduler:
    """Scheduler of one run on this machine."""

    name: Literal["slurm", "local"] = "local"

    def __init__(self, run: RunPaths) -> None:
        self._run = run

    def submit(
        self,
        run: RunPaths,
        job: PlannedJob,
        after: Sequence[Dependency],
        site: Site,
        run_job: RunJob,
        tasks: Sequence[int] = (),
    ) -> str:
        bury_dead_runner(run)
        write_calls(run, job, run_job, tasks)
        options = sbatch_options(submitted_name(run, job.name), after, job, tasks)
        given = dict(option.removeprefix("--").split("=", 1) for option in options)
        script = run.script(job.name)
        job_id = enqueue(run, script, given.get("dependency", ""), given.get("array", ""))
        name_calls(run, job, job_id, tasks)
        return job_id

    def find(self, names: Sequence[str]) -> dict[str, list[str]]:
        jobs = {name.rpartition(":")[2]: name for name in names}
        found: dict[str, list[str]] = {}
        for job in read_queue(self._run).jobs:
            if job.name in jobs:
                found.setdefault(jobs[job.name], []).append(job.id)
        return found

    def start(self, run: RunPaths, site: Site) -> None:
        """Start the runner in a session of its own, unless one is there that goes on."""
        with changing(run) as box, (run.local / "runner.log").open("ab") as log:
            if box[0].runner_alive():
                return
            # It takes the queue's lock first: its id is in the queue before it looks at it.
            process = subprocess.Popen(
                own_module("harness.scheduling.schedulers.local", str(run.root)),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env=job_environment(os.environ, site),
            )  # fmt: skip
            started = psutil.Process(process.pid).create_time()
            box[0] = box[0].model_copy(
                update={"runner_pid": process.pid, "runner_started": started}
            )

    def release(self, job_id: str) -> None:
        with changing(self._run) as box:
            for job in box[0].jobs:
                if job.id == job_id:
                    box[0] = box[0].with_job(job.model_copy(update={"after": ()}))
                    return
        raise SchedulerError(f"{job_id}: no such job in {queue_file(self._run)}")

    def cancel(self, job_ids: Iterable[str]) -> None:
        ids = set(job_ids)
        with changing(self._run) as box:
            queue = box[0]
            for job in queue.jobs:
                if job.id in ids:
                    for index, phase in enumerate(job.phases):
                        if phase in ("pending", "running"):
                            detail = ENDING if phase == "running" else "cancelled"
                            job = job.with_task(index, "cancelled", detail)
                    queue = queue.with_job(job)
            box[0] = queue

    def states(self, job_ids: Iterable[str]) -> dict[str, JobState]:
        queue = read_queue(self._run)
        alive = queue.runner_alive()
        found = {job_id: JobState("unknown") for job_id in job_ids}
        for job in queue.jobs:
            if job.id not in found:
                continue
            del found[job.id]
            for index, (phase, detail) in enumerate(zip(job.phases, job.details, strict=True)):
                if not alive and phase in ("pending", "running"):
                    phase, detail = "failed", RUNNER_DIED
                elif detail == ENDING:
                    phase, detail = ("running", ENDING) if alive else ("cancelled", "cancelled")
                elif phase == "pending" and job.after:
                    detail = "waits for " + ", ".join(on for _, on in job.after)
                key = f"{job.id}_{job.task(index)}" if job.array else job.id
                found[key] = JobState(phase, detail)
        return found


def run_queue(run: RunPaths) -> None:
    """Run queued tasks one after the other until none is left that can ever start."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # what a task leaves behind comes to us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    while True:
        with changing(run) as box:
            chosen = box[0].next_task()
            if chosen is None:
                for job in box[0].jobs:
                    for index, phase in enumerate(job.phases):
                        if phase == "pending":
                            job = job.with_task(index, "cancelled", "DependencyNeverSatisfied")
                    box[0] = box[0].with_job(job)
                # It leaves while it holds the queue: what is queued from now on is not its own.
                box[0] = box[0].model_copy(update={"runner_pid": 0})
                return
            job, index = chosen
            box[0] = box[0].with_job(job.with_task(index, "running"))
        phase, detail = _run_task(run, job, index)
        with changing(run) as box:
            current = next(j for j in box[0].jobs if j.id == job.id)
            if current.phases[index] == "running" or current.details[index] == ENDING:
                box[0] = box[0].with_job(current.with_task(index, phase, detail))


def _run_task(run: RunPaths, job: QueuedJob, index: int) -> tuple[Phase, str]:
    """Run one task; returns its phase and, where it failed, why."""
    stem = f"{job.id}_{job.task(index)}_0_log" if job.array else f"{job.id}_0_log"
    folder, marker = run.logs(job.name), secrets.token_hex(8)
    environ = {**task_environment(dict(os.environ), job, index), _TASK: marker}
    with (folder / f"{stem}.out").open("ab") as out, (folder / f"{stem}.err").open("ab") as err:
        process = subprocess.Popen(
            ["bash", job.script],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            start_new_session=True, env=environ,
        )  # fmt: skip
    deadline = time.monotonic() + job.minutes * 60
    try:
        while process.poll() is None:
            if time.monotonic() > deadline:
                return "failed", "TIMEOUT"
            if _cancelled(run, job.id, index):
                return "cancelled", "cancelled"
            time.sleep(_POLL_S)
    finally:
        _kill_tree(process, marker)
    code = process.returncode
    return ("completed", "") if code == 0 else ("failed", f"exit {code}")


def _cancelled(run: RunPaths, job_id: str, index: int) -> bool:
    return any(j.id == job_id and j.phases[index] == "cancelled" for j in read_queue(run).jobs)


def _kill_tree(process: subprocess.Popen[bytes], marker: str) -> None:
    """TERM, then KILL, for the script and all that it started: what is below it, and orphans, which
    come to this process and are known by the task's marker."""
    script = psutil.Process(process.pid) if process.poll() is None else None

    def members() -> list[int]:
        orphans = marked(_TASK, marker, psutil.Process().children(recursive=True))
        below = script.children(recursive=True) if script and script.is_running() else []
        return living({*orphans, *below, *([script] if script else [])})

    tree.end(members, grace_s=_KILL_AFTER_S, tick=process.poll)
    process.wait()


def task_environment(variables: dict[str, str], job: QueuedJob, index: int) -> dict[str, str]:
    """The variables that Slurm would set and that the scripts or submitit read."""
    slurm: dict[str, Any] = {
        "SLURM_JOB_ID": f"{job.id}{job.task(index):03d}" if job.array else job.id,
        "SLURM_JOB_NAME": job.name,
        "SLURM_JOB_NODELIST": socket.gethostname(),
        "SLURM_JOB_NUM_NODES": 1,
        "SLURM_NNODES": 1,
        "SLURM_NTASKS": 1,
        "SLURM_NODEID": 0,
        "SLURM_PROCID": 0,
        "SLURM_LOCALID": 0,
        "SLURM_RESTART_COUNT": 0,
    }
    if job.array:
        slurm |= {
            "SLURM_ARRAY_JOB_ID": job.id,
            "SLURM_ARRAY_TASK_ID": job.task(index),
            "SLURM_ARRAY_TASK_COUNT": len(job.phases),
        }
    path = f"{SHIPPED / 'templates' / 'local'}:{variables.get('PATH', os.defpath)}"
    return variables | {name: str(value) for name, value in slurm.items()} | {"PATH": path}


def main() -> None:
    """Run the queue of a run folder, the only argument."""
    run_queue(RunPaths(Path(sys.argv[1])))
