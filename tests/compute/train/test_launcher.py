"""Whoever is told to stop, all save one checkpoint together; whoever is killed, nobody stays."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("trl", reason="TRL is not installed")

from harness.compute.train.launcher import has_pending, survivors
from harness.runs.checkpoints import complete_checkpoints, read_marker
from harness.runs.paths import RunPaths
from harness.runs.tokenised import tokenised_cache

from .job_run import finish, log_steps, make_run, signal_everyone, start, state, train, wait_for

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]  # 15 s each on an idle machine
ENDLESS = {"max_steps": 5000, "save_steps": 5000}


def target(name: str, job: subprocess.Popen[str], paths: RunPaths) -> psutil.Process:
    """The process of a job by name: `job`, `launcher`, or a rank's number."""
    if name == "job":
        return psutil.Process(job.pid)
    family = survivors(state(paths)["attempt"])
    if name == "launcher":
        (found,) = [p for p in family if "accelerate.commands.launch" in p.cmdline()]
    else:
        (found,) = [p for p in family if p.environ().get("RANK") == name]
    return found


@pytest.mark.parametrize(
    ("name", "number"),
    [
        pytest.param("0", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("1", signal.SIGUSR2, marks=pytest.mark.slow),
        ("launcher", signal.SIGUSR2),
        pytest.param("launcher", signal.SIGTERM, marks=pytest.mark.slow),
        ("job", signal.SIGTERM),
        pytest.param("0", signal.SIGUSR2, marks=pytest.mark.slow),
        pytest.param("1", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("job", signal.SIGUSR2, marks=pytest.mark.slow),
    ],
)
def test_one_that_is_told_makes_all_save_together(
    inputs: Path, tmp_path: Path, name: str, number: signal.Signals
) -> None:
    paths = make_run(tmp_path, inputs, **ENDLESS)
    job = start(paths)
    wait_for(lambda: paths.train_log.is_file() and len(log_steps(paths)) >= 2, job)
    target(name, job, paths).send_signal(number)
    code, output = finish(job)
    check_saved(paths, code, output)
    # TERM to the job: cancelled, or the scheduler requeues it itself. It must not do so, too.
    asked = "stopped" if (name, number) == ("job", signal.SIGTERM) else "preempted"
    assert output.rstrip().endswith(asked)


def check_saved(paths: RunPaths, code: int, output: str) -> None:
    """One checkpoint, whole, at the step that the state says; nobody left."""
    assert code == 0, output
    now = state(paths)
    assert (now["state"], now["error"]) == ("preempted", None), output
    assert list(complete_checkpoints(paths.checkpoints)) == [now["step"]]
    assert log_steps(paths) == list(range(1, now["step"] + 1))
    assert output.count("is complete\n") == 1
    assert survivors(now["attempt"]) == []


@pytest.mark.slow
def test_signals_in_a_row_save_once(inputs: Path, tmp_path: Path) -> None:
    paths = make_run(tmp_path, inputs, **ENDLESS)
    job = start(paths)
    wait_for(lambda: paths.train_log.is_file(), job)
    for number in (signal.SIGUSR2, signal.SIGUSR2, signal.SIGTERM):
        signal_everyone(job, number)
        time.sleep(0.2)
    code, output = finish(job)
    check_saved(paths, code, output)
    assert output.rstrip().endswith("preempted"), "the first one says what for"


@pytest.mark.slow
def test_a_stop_at_the_very_last_step_is_the_end_and_no_interruption(
    inputs: Path, tmp_path: Path
) -> None:
    paths = make_run(tmp_path, inputs, max_steps=1, save_steps=1)
    job = start(paths)
    # Told between tokenising and its only step: it stops after that.
    wait_for(lambda: any(tokenised_cache(paths).glob("*/facts.json")), job)
    job.send_signal(signal.SIGUSR2)
    code, output = finish(job)
    assert code == 0, output
    assert output.rstrip().endswith("complete")
    assert (state(paths)["state"], state(paths)["step"]) == ("complete", 1)
    (marker,) = map(read_marker, complete_checkpoints(paths.checkpoints).values())
    assert marker is not None
    assert marker["planned"] is True


def test_a_job_killed_outright_leaves_no_process(inputs: Path, tmp_path: Path) -> None:
    paths = make_run(tmp_path, inputs, **ENDLESS)
    job = start(paths)
    wait_for(lambda: paths.train_log.is_file(), job)
    attempt = state(paths)["attempt"]
    assert len(survivors(attempt)) >= 4  # supervisor, launcher, two ranks
    job.kill()
    code, _ = finish(job)
    assert code == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while survivors(attempt):
        assert time.monotonic() < deadline, survivors(attempt)
        time.sleep(0.1)
    # Its orphans were told to stop, so they saved; the state is true.
    assert state(paths)["state"] == "preempted"
    assert list(complete_checkpoints(paths.checkpoints)) == [state(paths)["step"]]


@pytest.mark.slow
def test_a_diverged_loss_ends_training_for_good(inputs: Path, tmp_path: Path) -> None:
    paths = make_run(tmp_path, inputs, max_steps=200, save_steps=100, learning_rate=1e30)
    code, output = train(paths)
    assert code == 1, output
    now = state(paths)
    assert (now["state"], now["final"]) == ("failed", True)
    assert now["error"].startswith("training has diverged: "), now["error"]
    assert "lower train.learning_rate" in now["error"]
    assert now["step"] < 20
    assert complete_checkpoints(paths.checkpoints) == {}
    assert '"nan"' in paths.train_log.read_text()
    assert survivors(now["attempt"]) == []


def test_a_blocked_signal_is_seen_waiting() -> None:
    code = (
        "import signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]); "
        "print('ready', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        ["python", "-c", code], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    assert not has_pending(child.pid, signal.SIGUSR2)
    child.send_signal(signal.SIGUSR2)
    assert has_pending(child.pid, signal.SIGUSR2)
    assert not has_pending(child.pid, signal.SIGTERM)
    child.communicate()
    assert not has_pending(child.pid, signal.SIGUSR2)
