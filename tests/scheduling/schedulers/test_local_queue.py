"""The local queue: what a script's own lines ask for, what is next, and nothing is lost."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.errors import ResultError
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers.local_queue import (
    Queue,
    QueuedJob,
    bury_dead_runner,
    changing,
    enqueue,
    queue_file,
    read_queue,
)


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path / 'it\'s a "run" é' / "20260101-000000-aaaa")


def script(run: RunPaths, name: str = "train", *lines: str) -> Path:
    run.scripts.mkdir(parents=True, exist_ok=True)
    path = run.script(name)
    head = ["#!/bin/bash", f"#SBATCH --job-name=run:{name}", "#SBATCH --time=1:00:00", *lines]
    path.write_text("\n".join([*head, "true", ""]))
    return path


def job(job_id: str, phase: Any = "pending", after: Any = (), **fields: Any) -> QueuedJob:
    phases = phase if isinstance(phase, tuple) else (phase,)
    given: dict[str, Any] = {"name": "x", "script": "s", "array": False, "minutes": 1} | fields
    return QueuedJob(id=job_id, phases=phases, details=("",) * len(phases), after=after, **given)


def test_a_script_is_queued_as_its_own_lines_say(run: RunPaths) -> None:
    path = script(run, "train", "#SBATCH --comment='a b'", "# SBATCH --time=9")
    assert enqueue(run, path, "") == "1"
    (queued,) = read_queue(run).jobs
    assert (queued.id, queued.name, queued.minutes) == ("1", "train", 60)
    assert queued.script == str(run.script("train"))
    assert (queued.array, queued.phases, queued.tasks, queued.after) == (
        False,
        ("pending",),
        (),
        (),
    )


def test_dependencies_are_kept_with_their_condition(run: RunPaths) -> None:
    for name in ("a", "b"):
        enqueue(run, script(run, name), "")
    assert enqueue(run, script(run, "c"), "afterok:1,afterany:2") == "3"
    assert read_queue(run).jobs[2].after == (("afterok", "1"), ("afterany", "2"))


@pytest.mark.parametrize(
    ("own", "given", "tasks"),
    [
        ("0-3", "", (0, 1, 2, 3)),
        ("0-3%2", "", (0, 1, 2, 3)),
        ("0-3%2", "1,3%2", (1, 3)),
        ("0-9", "0-1,5,7-8", (0, 1, 5, 7, 8)),
        ("0-0", "", (0,)),
    ],
)
def test_an_arrays_tasks_keep_their_own_numbers(
    run: RunPaths, own: str, given: str, tasks: tuple[int, ...]
) -> None:
    enqueue(run, script(run, "eval", f"#SBATCH --array={own}"), "", given)
    (queued,) = read_queue(run).jobs
    assert (queued.array, queued.tasks) == (True, tasks)
    assert len(queued.phases) == len(queued.details) == len(tasks)
    assert [queued.task(position) for position in range(len(tasks))] == list(tasks)


def test_a_run_that_queued_nothing_has_an_empty_queue(run: RunPaths) -> None:
    assert read_queue(run) == Queue()
    assert not run.root.exists()


def test_a_queue_that_cannot_be_read_is_an_error_and_not_an_empty_one(run: RunPaths) -> None:
    enqueue(run, script(run), "")
    queue_file(run).write_text('{"jobs": [')
    with pytest.raises(ResultError, match=r"queue\.json"):
        read_queue(run)
    with pytest.raises(ResultError, match=r"queue\.json"):
        enqueue(run, script(run), "")
    assert queue_file(run).read_text() == '{"jobs": ['


def test_two_that_queue_at_once_lose_nothing(run: RunPaths) -> None:
    path = script(run)
    found: list[str] = []

    def several() -> None:
        for _ in range(5):
            found.append(enqueue(run, path, ""))

    threads = [threading.Thread(target=several) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found, key=int) == [str(n) for n in range(1, 21)]
    assert [j.id for j in read_queue(run).jobs] == [str(n) for n in range(1, 21)]


def test_a_change_that_fails_changes_nothing(run: RunPaths) -> None:
    enqueue(run, script(run), "")
    before = queue_file(run).read_text()
    with pytest.raises(ZeroDivisionError), changing(run) as box:
        box[0] = Queue(runner_pid=1 // 0)
    assert queue_file(run).read_text() == before
    enqueue(run, script(run), "")  # the lock is free again
    assert {p.name for p in run.local.iterdir()} == {"queue.json", ".queue.lock"}


@pytest.mark.parametrize(
    ("first", "condition", "ready"),
    [
        ("completed", "afterok", True), ("failed", "afterok", False),
        ("cancelled", "afterok", False),
        ("failed", "afterany", True), ("cancelled", "afterany", True),
        ("running", "afterany", False), ("pending", "afterany", False),
        (("completed", "failed"), "afterok", False), (("completed", "running"), "afterany", False),
        ("unknown", "afterany", False),
    ],
)  # fmt: skip
def test_a_job_is_ready_by_how_the_one_before_it_ended(
    first: Any, condition: str, ready: bool
) -> None:
    queue = Queue(jobs=(job("1", first), job("2", after=((condition, "1"),))))
    chosen = queue.next_task()
    assert (chosen is not None and chosen[0].id == "2") is ready


def test_the_first_pending_task_in_order_is_next() -> None:
    queue = Queue(jobs=(job("1", ("completed", "pending", "pending"), array=True), job("2")))
    chosen = queue.next_task()
    assert chosen is not None
    assert (chosen[0].id, chosen[1]) == ("1", 1)
    assert Queue(jobs=(job("1", "running"), job("2", "failed"))).next_task() is None


def test_a_tasks_new_phase_leaves_the_others_and_the_old_value() -> None:
    before = job("1", ("pending", "pending"), array=True)
    after = before.with_task(1, "failed", "exit 3")
    assert (after.phases, after.details) == (("pending", "failed"), ("", "exit 3"))
    assert before.phases == ("pending", "pending")
    queue = Queue(jobs=(before, job("2"))).with_job(after)
    assert [j.phases for j in queue.jobs] == [after.phases, ("pending",)]


def test_a_runner_is_told_from_another_process_by_its_start() -> None:
    started = psutil.Process().create_time()
    assert Queue(runner_pid=os.getpid(), runner_started=started).runner_alive()
    assert not Queue(runner_pid=os.getpid(), runner_started=started - 100).runner_alive()
    assert not Queue(runner_pid=2**22 + 1, runner_started=started).runner_alive()
    assert not Queue().runner_alive()


@pytest.mark.parametrize(
    ("pid", "buried"),
    [(1, True), (0, False), (os.getpid(), False)],
    ids=["of-another", "not-started", "running"],
)
def test_only_what_a_dead_runner_left_has_failed(run: RunPaths, pid: int, buried: bool) -> None:
    """Before a runner is started there is none to be dead."""
    started = psutil.Process().create_time() if pid == os.getpid() else 1.0
    with changing(run) as box:
        jobs = (job("1", ("completed", "running", "pending"), array=True), job("2", "cancelled"))
        box[0] = Queue(jobs=jobs, runner_pid=pid, runner_started=started)
    bury_dead_runner(run)
    queue = read_queue(run)
    left = ("completed", *(("failed",) * 2 if buried else ("running", "pending")))
    assert [j.phases for j in queue.jobs] == [left, ("cancelled",)]
    assert queue.jobs[0].details[1] == ("the local runner died" if buried else "")
    assert queue.runner_pid == (0 if buried else pid)
    assert json.loads(queue_file(run).read_text())["jobs"][1]["id"] == "2"
