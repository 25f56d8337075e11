"""The local scheduler: dependency order, Slurm's variables, release, cancel, death of the runner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from harness.config.site import Site
from harness.processes.shell import own_module
from harness.runs.paths import RunPaths
from harness.scheduling.schedulers.local import LocalScheduler, run_queue, task_environment
from harness.scheduling.schedulers.local_queue import (
    QueuedJob,
    bury_dead_runner,
    changing,
    enqueue,
    read_queue,
)
from harness.scheduling.schedulers.scheduler import submitted_name
from tests.support import ROOT


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    paths = RunPaths(tmp_path / "it's a run" / "20260101-000000-aaaa")
    paths.root.mkdir(parents=True)
    return paths


def queue(run: RunPaths, name: str, body: str, dependency: str = "", array: str = "") -> str:
    header = f"#!/bin/bash\n#SBATCH --job-name=run:{name}\n#SBATCH --time=0:01:00\n"
    header += f"#SBATCH --array={array}\n" if array else ""
    run.scripts.mkdir(exist_ok=True)
    run.logs(name).mkdir(parents=True, exist_ok=True)
    run.script(name).write_text(header + body)
    return enqueue(run, run.script(name), dependency)


def phases(run: RunPaths) -> dict[str, tuple[str, ...]]:
    return {job.name: tuple(job.phases) for job in read_queue(run).jobs}


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lives(pid: int) -> bool:
    """Whether a process runs; one that is dead and only waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.long
def test_jobs_run_in_dependency_order_with_slurms_variables(run: RunPaths) -> None:
    note = run.root / "note"
    line = f'echo "$SLURM_JOB_NAME ${{SLURM_ARRAY_TASK_ID:-}}" >> "{note}"'
    first = queue(run, "first", f"sleep 0.3; {line}")
    queue(run, "after", line, dependency=f"afterok:{first}", array="0-1%1")
    queue(run, "free", line)
    run_queue(run)
    assert note.read_text().split("\n")[:4] == ["first ", "after 0", "after 1", "free "]
    assert set(phases(run).values()) == {("completed",), ("completed", "completed")}


def test_the_failure_of_one_leaves_afterok_waiting_and_lets_afterany_go(run: RunPaths) -> None:
    bad = queue(run, "bad", "exit 3")
    queue(run, "never", "true", dependency=f"afterok:{bad}", array="0-0")
    queue(run, "close", "true", dependency=f"afterany:{bad}")
    run_queue(run)
    assert phases(run) == {"bad": ("failed",), "never": ("cancelled",), "close": ("completed",)}
    states = LocalScheduler(run).states(["1", "2", "3", "9"])
    assert states["1"].detail == "exit 3"
    assert states["2_0"].detail == "DependencyNeverSatisfied"
    assert states["9"].phase == "unknown"


def test_a_released_job_runs_in_spite_of_the_failure(run: RunPaths) -> None:
    bad = queue(run, "bad", "exit 3")
    job = queue(run, "released", "true", dependency=f"afterok:{bad}")
    LocalScheduler(run).release(job)
    run_queue(run)
    assert phases(run)["released"] == ("completed",)


def test_cancelling_ends_a_running_script_and_all_it_started(run: RunPaths) -> None:
    job = queue(run, "long", f'sleep 300 & echo $! > "{run.root}/pid"; wait')
    runner = subprocess.Popen(own_module("harness.scheduling.schedulers.local", str(run.root)))
    eventually(lambda: (run.root / "pid").exists() and (run.root / "pid").read_text() != "")
    LocalScheduler(run).cancel([job])
    assert runner.wait(20) == 0
    assert phases(run) == {"long": ("cancelled",)}
    assert not lives(int((run.root / "pid").read_text()))


@pytest.mark.long
def test_a_cancelled_task_runs_until_nothing_of_it_lives(run: RunPaths) -> None:
    """A script that takes its time after TERM, and a daemon of it that no parent leads to."""
    daemon = (
        "import os, signal, sys, time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), os._exit(0)))\n"
        "open(sys.argv[1], 'w').write(str(os.getpid()))\n"
        "while True: time.sleep(300)\n"
    )
    (run.root / "daemon.py").write_text(daemon)
    pid = run.root / "pid"
    job = queue(run, "long", f'"{sys.executable}" "{run.root}/daemon.py" "{pid}"; sleep 300')
    scheduler = LocalScheduler(run)
    scheduler.start(run, Site())
    eventually(lambda: pid.exists() and pid.read_text() != "")
    daemon_pid = int(pid.read_text())
    scheduler.cancel([job])
    state = scheduler.states([job])[job]
    assert (state.phase, state.detail, state.ended) == ("running", "being cancelled", False)
    seen = []
    while not (state := scheduler.states([job])[job]).ended:
        seen.append(lives(daemon_pid))
        time.sleep(0.05)
    assert state.phase == "cancelled" and any(seen) and not lives(daemon_pid)


@pytest.mark.long
def test_what_a_script_leaves_behind_ends_with_it(run: RunPaths) -> None:
    pid = run.root / "pid"
    queue(run, "short", f'(setsid sleep 300 & echo $! > "{pid}"); exit 0')
    queue(run, "next", "true")
    LocalScheduler(run).start(run, Site())
    eventually(lambda: phases(run)["next"] == ("completed",))
    assert phases(run)["short"] == ("completed",)
    assert not lives(int(pid.read_text()))


def test_jobs_of_a_dead_runner_have_failed(run: RunPaths) -> None:
    job = queue(run, "long", "true")
    state = LocalScheduler(run).states([job])[job]
    assert (state.phase, state.detail) == ("failed", "the local runner died")


def test_a_new_runner_does_not_start_what_a_dead_one_left(run: RunPaths) -> None:
    note = run.root / "note"
    for name in ("running", "waiting"):
        queue(run, name, f'echo {name} >> "{note}"')
    with changing(run) as box:
        job = box[0].jobs[0].with_task(0, "running")
        box[0] = box[0].with_job(job).model_copy(update={"runner_pid": 1, "runner_started": 1.0})
    bury_dead_runner(run)
    queue(run, "again", f'echo again >> "{note}"')
    bury_dead_runner(run)  # before each submission; nothing has run since
    run_queue(run)
    assert note.read_text() == "again\n"
    assert phases(run) == {"running": ("failed",), "waiting": ("failed",), "again": ("completed",)}


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives on for a while, as a runner that has done its work does."""
    with subprocess.Popen(["sleep", "300"]) as process:
        yield process
        process.kill()


def has_runner(run: RunPaths, process: subprocess.Popen[bytes]) -> None:
    started = psutil.Process(process.pid).create_time()
    with changing(run) as box:
        box[0] = box[0].model_copy(update={"runner_pid": process.pid, "runner_started": started})


def test_jobs_queued_while_a_runner_leaves_are_not_its_own(
    run: RunPaths, other: subprocess.Popen[bytes]
) -> None:
    """A retry straight after the last job has ended: the runner is there, and then it is not."""
    queue(run, "first", "true")
    has_runner(run, other)
    run_queue(run)
    for name in ("again", "collect"):
        bury_dead_runner(run)  # as each submission does
        queue(run, name, "true")
        other.kill()
        other.wait()
    assert phases(run) == {"first": ("completed",), "again": ("pending",), "collect": ("pending",)}
    run_queue(run)
    assert set(phases(run).values()) == {("completed",)}


def test_a_runner_that_goes_on_gets_no_second_beside_it(
    run: RunPaths, other: subprocess.Popen[bytes]
) -> None:
    queue(run, "first", "true")
    has_runner(run, other)
    LocalScheduler(run).start(run, Site())
    assert read_queue(run).runner_pid == other.pid
    assert phases(run) == {"first": ("pending",)}


def test_a_dead_runner_that_nobody_has_reaped_does_not_live(
    run: RunPaths, other: subprocess.Popen[bytes]
) -> None:
    job = queue(run, "first", "true")
    has_runner(run, other)
    os.kill(other.pid, signal.SIGKILL)
    eventually(lambda: not lives(other.pid))
    assert str(LocalScheduler(run).states([job])[job]) == "failed: the local runner died"


def test_a_job_is_found_by_the_name_of_its_submission(run: RunPaths) -> None:
    for name in ("train", "collect", "train"):
        queue(run, name, "true")
    names = [submitted_name(run, name) for name in ("train", "close")]
    assert LocalScheduler(run).find(names) == {names[0]: ["1", "3"]}


@pytest.mark.long
def test_the_runner_has_a_session_of_its_own_and_outlives_its_starter(run: RunPaths) -> None:
    queue(run, "slow", f'sleep 1; echo done > "{run.root}/out"')
    code = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it\n"
        "from pathlib import Path; from harness.config.site import Site\n"
        "from harness.runs.paths import RunPaths\n"
        "from harness.scheduling.schedulers.local import LocalScheduler\n"
        "run = RunPaths(Path(sys.argv[1])); LocalScheduler(run).start(run, Site())\n"
        "os.killpg(0, signal.SIGHUP)"
    )
    starter = subprocess.run(
        [sys.executable, "-c", code, str(run.root)], start_new_session=True, cwd=ROOT
    )
    assert starter.returncode == -signal.SIGHUP
    eventually(lambda: (run.root / "out").exists())
    eventually(lambda: phases(run) == {"slow": ("completed",)})


def test_srun_is_replaced_and_its_options_do_not_matter(run: RunPaths) -> None:
    queue(run, "step", f'srun --a=1 --output=x echo "a b" > "{run.root}/out"')
    run_queue(run)
    assert (run.root / "out").read_text() == "a b\n"


def test_a_job_that_is_no_array_has_no_array_variables() -> None:
    job = QueuedJob(id="3", name="x", script="s", array=False, minutes=1)
    environment = task_environment({"PATH": "/bin"}, job, 0)
    assert environment["SLURM_JOB_ID"] == "3"
    assert not [name for name in environment if "ARRAY" in name]
