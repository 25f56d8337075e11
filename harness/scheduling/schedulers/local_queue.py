"""The queue of the local scheduler: `local/queue.json` in the run folder, changed under a lock."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock

from harness.config.base import Frozen, minutes
from harness.processes.marked import lives
from harness.runs.files import read_json, write_json
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers.scheduler import Phase

RUNNER_DIED = "the local runner died"
ENDING = "being cancelled"
"""Of a task that was cancelled while it ran: the runner still ends what it started."""


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
    tasks: tuple[int, ...] = ()
    """Of an array, the index of each task."""

    def task(self, position: int) -> int:
        """The array's index of the task at a position."""
        return self.tasks[position] if self.tasks else position

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
    """0: none was started, or it has left, with nothing more to do."""
    runner_started: float = 0.0

    def with_job(self, job: QueuedJob) -> Queue:
        jobs = tuple(job if j.id == job.id else j for j in self.jobs)
        return self.model_copy(update={"jobs": jobs})

    def runner_alive(self) -> bool:
        """Whether the runner lives (its start time tells it from a reused process id)."""
        if not self.runner_pid:
            return False
        try:
            process = psutil.Process(self.runner_pid)
            same = abs(process.create_time() - self.runner_started) < 1
        except psutil.NoSuchProcess:
            return False
        return same and lives(process)

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


def queue_file(run: RunPaths) -> Path:
    return run.local / "queue.json"


def read_queue(run: RunPaths) -> Queue:
    """The queue of a run; empty when nothing was queued."""
    return (
        Queue.model_validate(read_json(queue_file(run))) if queue_file(run).is_file() else Queue()
    )


@contextmanager
def changing(run: RunPaths) -> Iterator[list[Queue]]:
    run.local.mkdir(parents=True, exist_ok=True)
    with FileLock(run.local / ".queue.lock"):
        box = [read_queue(run)]
        yield box
        write_json(queue_file(run), box[0].model_dump(mode="json"))


def bury_dead_runner(run: RunPaths) -> None:
    """What a runner that died left unfinished has failed: a new runner must not start it again."""
    with changing(run) as box:
        queue = box[0]
        if not queue.runner_pid or queue.runner_alive():
            return
        for job in queue.jobs:
            for index, phase in enumerate(job.phases):
                if phase in ("pending", "running"):
                    job = job.with_task(index, "failed", RUNNER_DIED)
            queue = queue.with_job(job)
        box[0] = queue.model_copy(update={"runner_pid": 0})


def enqueue(run: RunPaths, script: Path, dependency: str, array: str = "") -> str:
    """Queue a script as sbatch would: its own directives say name, array and time.

    `array` overrides the script's: `0-3`, `1,3`, both also with a throttle (`%2`).
    """
    text = script.read_text(encoding="utf-8")
    found = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", text, re.MULTILINE))
    options = {name: "".join(shlex.split(value)) for name, value in found.items()}
    tasks = _array_tasks(array or options.get("array", ""))
    count = max(len(tasks), 1)
    pending: list[Phase] = ["pending"] * count
    pairs = [part.partition(":") for part in dependency.split(",") if part]
    with changing(run) as box:
        job = QueuedJob(
            id=str(len(box[0].jobs) + 1),
            name=options["job-name"].rpartition(":")[2],
            script=str(run.script(options["job-name"].rpartition(":")[2])),
            array="array" in options,
            minutes=minutes(options["time"]),
            after=tuple((condition, on) for condition, _, on in pairs),
            phases=tuple(pending),
            details=("",) * count,
            tasks=tasks,
        )
        box[0] = box[0].model_copy(update={"jobs": (*box[0].jobs, job)})
    return job.id


def _array_tasks(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in filter(None, text.partition("%")[0].split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)
