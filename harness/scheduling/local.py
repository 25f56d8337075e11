"""The same scripts without Slurm: one after the other on this machine, in dependency order.

    python -m harness.scheduling.local sbatch RUN_DIR [--dependency=…] SCRIPT   queue a script
    python -m harness.scheduling.local run RUN_DIR                              run the queue

The queue is `local/queue.json` in the run folder, changed under a lock. The runner is a process in
a session of its own, so it survives the terminal; it sets the SLURM_* variables that scripts and
submitit read, and `templates/local/srun` stands in for srun.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import psutil
from filelock import FileLock

from harness.config.base import Frozen, minutes
from harness.config.load import PROJECT_ROOT
from harness.config.site import Site
from harness.errors import SchedulerError
from harness.plan import PlannedJob
from harness.runs.files import read_json, write_json
from harness.runs.paths import RunPaths
from harness.scheduling.environments import job_environment
from harness.scheduling.scheduler import Dependency, JobState, Phase, sbatch_options

_POLL_S = 0.2
_KILL_AFTER_S = 30


class QueuedJob(Frozen):
    """One queued script: a single task, or an array's tasks."""

    id: str
    name: str
    script: str
    array: bool
    minutes: int
    after: tuple[tuple[str, str], ...] = ()
    phases: tuple[Phase, ...] = ("pending",)
    details: tuple[str, ...] = ("",)

    @property
    def ended(self) -> bool:
        return all(phase in ("completed", "failed", "cancelled") for phase in self.phases)

    @property
    def succeeded(self) -> bool:
        return all(phase == "completed" for phase in self.phases)

    def with_task(self, index: int, phase: Phase, detail: str = "") -> QueuedJob:
        phases, details = list(self.phases), list(self.details)
        phases[index], details[index] = phase, detail
        return self.model_copy(update={"phases": tuple(phases), "details": tuple(details)})


class Queue(Frozen):
    """All queued scripts of a run, and the process that runs them."""

    jobs: tuple[QueuedJob, ...] = ()
    runner_pid: int = 0
    runner_started: float = 0.0

    def with_job(self, job: QueuedJob) -> Queue:
        jobs = tuple(job if j.id == job.id else j for j in self.jobs)
        return self.model_copy(update={"jobs": jobs})

    def runner_alive(self) -> bool:
        """Whether the runner lives (its start time tells it from a reused process id)."""
        try:
            return (
                bool(self.runner_pid)
                and abs(psutil.Process(self.runner_pid).create_time() - self.runner_started) < 1
            )
        except psutil.NoSuchProcess:
            return False

    def next_task(self) -> tuple[QueuedJob, int] | None:
        """The first pending task whose dependencies hold."""
        by_id = {job.id: job for job in self.jobs}
        for job in self.jobs:
            ready = all(
                by_id[on].succeeded if condition == "afterok" else by_id[on].ended
                for condition, on in job.after
            )
            if ready and "pending" in job.phases:
                return job, job.phases.index("pending")
        return None


def _file(run: RunPaths) -> Path:
    return run.local / "queue.json"


def read_queue(run: RunPaths) -> Queue:
    """The queue of a run; empty when nothing was queued."""
    return Queue.model_validate(read_json(_file(run))) if _file(run).is_file() else Queue()


@contextmanager
def _changing(run: RunPaths) -> Iterator[list[Queue]]:
    run.local.mkdir(parents=True, exist_ok=True)
    with FileLock(run.local / ".queue.lock"):
        box = [read_queue(run)]
        yield box
        write_json(_file(run), box[0].model_dump(mode="json"))


class LocalScheduler:
    """Scheduler of one run on this machine."""

    name: Literal["slurm", "local"] = "local"

    def __init__(self, run: RunPaths) -> None:
        self._run = run

    def submit(
        self, run: RunPaths, job: PlannedJob, script: str, after: Sequence[Dependency], site: Site
    ) -> str:
        from harness.compute.entry import run_job
        from harness.scheduling.executor import RenderedExecutor
        from harness.scheduling.slurm import calls

        executor = RenderedExecutor(
            run.logs(job.name),
            script=script,
            sbatch=[*_this_module("sbatch", run), *sbatch_options(after)],
            minutes=job.minutes,
            array=job.is_array,
        )
        self._environment = job_environment(os.environ, site)
        return executor.submit_calls(run_job, calls(run, job))

    def start(self, run: RunPaths) -> None:
        """Start the runner in a session of its own."""
        with (run.local / "runner.log").open("ab") as log:
            process = subprocess.Popen(
                _this_module("run", run),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, env=self._environment, cwd=PROJECT_ROOT,
            )  # fmt: skip
        with _changing(run) as box:
            started = psutil.Process(process.pid).create_time()
            box[0] = box[0].model_copy(
                update={"runner_pid": process.pid, "runner_started": started}
            )

    def release(self, job_id: str) -> None:
        with _changing(self._run) as box:
            for job in box[0].jobs:
                if job.id == job_id:
                    box[0] = box[0].with_job(job.model_copy(update={"after": ()}))
                    return
        raise SchedulerError(f"{job_id}: no such job in {_file(self._run)}")

    def cancel(self, job_ids: Iterable[str]) -> None:
        ids = set(job_ids)
        with _changing(self._run) as box:
            queue = box[0]
            for job in queue.jobs:
                if job.id in ids:
                    for index, phase in enumerate(job.phases):
                        if phase in ("pending", "running"):
                            job = job.with_task(index, "cancelled", "cancelled")
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
                    phase, detail = "failed", "the local runner died"
                elif phase == "pending" and job.after:
                    detail = "waits for " + ", ".join(on for _, on in job.after)
                found[f"{job.id}_{index}" if job.array else job.id] = JobState(phase, detail)
        return found


def _this_module(verb: str, run: RunPaths) -> list[str]:
    # -P would hide the project; the path is put in front by hand so that any folder will do.
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "from harness.scheduling.local import main; main(sys.argv[2:])"
    )
    return [sys.executable, "-c", code, str(PROJECT_ROOT), verb, str(run.root)]


def enqueue(run: RunPaths, script: Path, dependency: str) -> str:
    """Queue a script as sbatch would: its own directives say name, array and time."""
    text = script.read_text(encoding="utf-8")
    found = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", text, re.MULTILINE))
    options = {name: "".join(shlex.split(value)) for name, value in found.items()}
    tasks = (
        int(options["array"].partition("%")[0].partition("-")[2]) + 1 if "array" in options else 1
    )
    pending: list[Phase] = ["pending"] * tasks
    pairs = [part.partition(":") for part in dependency.split(",") if part]
    with _changing(run) as box:
        job = QueuedJob(
            id=str(len(box[0].jobs) + 1),
            name=options["job-name"].rpartition(":")[2],
            script=str(run.script(options["job-name"].rpartition(":")[2])),
            array="array" in options,
            minutes=minutes(options["time"]),
            after=tuple((condition, on) for condition, _, on in pairs),
            phases=tuple(pending),
            details=("",) * tasks,
        )
        box[0] = box[0].model_copy(update={"jobs": (*box[0].jobs, job)})
    return job.id


def run_queue(run: RunPaths) -> None:
    """Run queued tasks one after the other until none is left that can ever start."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    while True:
        with _changing(run) as box:
            chosen = box[0].next_task()
            if chosen is None:
                for job in box[0].jobs:
                    for index, phase in enumerate(job.phases):
                        if phase == "pending":
                            job = job.with_task(index, "cancelled", "DependencyNeverSatisfied")
                    box[0] = box[0].with_job(job)
                return
            job, index = chosen
            box[0] = box[0].with_job(job.with_task(index, "running"))
        phase, detail = _run_task(run, job, index)
        with _changing(run) as box:
            current = next(j for j in box[0].jobs if j.id == job.id)
            if current.phases[index] == "running":
                box[0] = box[0].with_job(current.with_task(index, phase, detail))


def _run_task(run: RunPaths, job: QueuedJob, index: int) -> tuple[Phase, str]:
    """Run one task; returns its phase and, where it failed, why."""
    stem = f"{job.id}_{index}_0_log" if job.array else f"{job.id}_0_log"
    folder = run.logs(job.name)
    with (folder / f"{stem}.out").open("ab") as out, (folder / f"{stem}.err").open("ab") as err:
        process = subprocess.Popen(
            ["bash", job.script],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            start_new_session=True, env=task_environment(dict(os.environ), job, index),
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
        _kill_tree(process)
    code = process.returncode
    return ("completed", "") if code == 0 else ("failed", f"exit {code}")


def _cancelled(run: RunPaths, job_id: str, index: int) -> bool:
    return any(j.id == job_id and j.phases[index] == "cancelled" for j in read_queue(run).jobs)


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """TERM, then KILL, for the script and all that it started."""
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
    except psutil.NoSuchProcess:
        process.wait()
        return
    for member in family:
        _send(member, signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=_KILL_AFTER_S)
    for member in alive:
        _send(member, signal.SIGKILL)
    process.wait()


def _send(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def task_environment(variables: dict[str, str], job: QueuedJob, index: int) -> dict[str, str]:
    """The variables that Slurm would set and that the scripts or submitit read."""
    slurm: dict[str, Any] = {
        "SLURM_JOB_ID": f"{job.id}{index:03d}" if job.array else job.id,
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
            "SLURM_ARRAY_TASK_ID": index,
            "SLURM_ARRAY_TASK_COUNT": len(job.phases),
        }
    path = f"{PROJECT_ROOT / 'templates' / 'local'}:{variables.get('PATH', os.defpath)}"
    return variables | {name: str(value) for name, value in slurm.items()} | {"PATH": path}


def main(argv: Sequence[str]) -> None:
    """`sbatch RUN_DIR [--dependency=…] SCRIPT` or `run RUN_DIR`."""
    verb, root, *rest = argv
    run = RunPaths(Path(root))
    if verb == "run":
        run_queue(run)
        return
    *options, script = rest
    dependency = next((o.partition("=")[2] for o in options if o.startswith("--dependency=")), "")
    print(f"Submitted batch job {enqueue(run, Path(script), dependency)}")


if __name__ == "__main__":
    main(sys.argv[1:])
