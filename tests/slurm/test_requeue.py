"""Interrupted training on a real Slurm: saved together, requeued, and exactly what it would have been."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.compute.train.processes import survivors
from harness.runs.checkpoints import complete_checkpoints
from harness.runs.paths import COMPLETE_MARKER

from .cluster import PrivateSlurm
from .test_chain import Cluster, job_id

pytest.importorskip("trl", reason="needs the extra `train`")

STEPS = 60


def spec(cluster: Cluster, **train: Any) -> str:
    return str(
        cluster.spec([], max_steps=STEPS, save_steps=20, gradient_accumulation_steps=4, **train)
    )


def submitted(cluster: Cluster, path: str, *options: str) -> Path:
    done = cluster.harness("submit", path, *options)
    assert done.returncode == 0, done.stderr
    return (cluster.folder / "runs" / "tiny" / "latest").resolve()


def step(run: Path) -> int:
    log = run / "train" / "log.jsonl"
    lines = log.read_text().splitlines() if log.is_file() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


def weights(run: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(run / "checkpoints" / f"checkpoint-{STEPS}" / "model.safetensors"))


def largest_difference(one: Path, other: Path) -> float:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.fixture(scope="module")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, slurm: PrivateSlurm
) -> tuple[Cluster, Path]:
    """A finished run, and the folder with its model and data."""
    cluster = Cluster(tmp_path_factory.mktemp("requeue"), slurm)
    run = submitted(cluster, spec(cluster))
    slurm.wait_for(job_id(run, "train"), "COMPLETED", timeout=180)
    return cluster, run


def workers(run: Path) -> dict[int, psutil.Process]:
    """The living training processes of a run's present start, by rank."""
    attempt = json.loads((run / "train" / "state.json").read_text())["attempt"]
    found = {}
    for process in survivors(attempt):
        with contextlib.suppress(psutil.Error):
            if "RANK" in process.environ():
                found[int(process.environ()["RANK"])] = process
    return found


def random_step(first: int, last: int) -> int:
    """A step to interrupt at; printed, and chosen again by HARNESS_TEST_SEED."""
    seed = int(os.environ.get("HARNESS_TEST_SEED") or time.time_ns() % 100_000)
    chosen = random.Random(seed).randint(first, last)
    print(f"interrupts at step {chosen} (HARNESS_TEST_SEED={seed})")
    return chosen


def went_on_from(run: Path) -> list[int]:
    """The checkpoints that training went on from, start after start."""
    text = "".join(log.read_text() for log in sorted((run / "logs" / "train").glob("*_0_log.out")))
    return [int(step) for step in re.findall(r"going on from checkpoint-(\d+)", text)]


def check_exact(run: Path, whole: Path) -> None:
    """Complete, every planned checkpoint there, the uninterrupted weights, nobody left."""
    state = json.loads((run / "train" / "state.json").read_text())
    assert (state["state"], state["step"]) == ("complete", STEPS)
    assert {20, 40, STEPS} <= set(complete_checkpoints(run / "checkpoints"))
    assert largest_difference(run, whole) == 0.0
    steps = [
        json.loads(line)["step"] for line in (run / "train/log.jsonl").read_text().splitlines()
    ]
    assert steps == list(range(1, STEPS + 1))
    assert leftovers(run) == []


def leftovers(run: Path) -> list[int]:
    """Training processes of any start of this run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
            if any(str(run) in word for word in words):
                found.append(process.pid)
    return found


@pytest.mark.timeout(360)
@pytest.mark.parametrize(
    "interruption",
    [("scancel", "--signal=USR2"), ("scontrol", "requeue")],
    ids=["told-by-USR2", "requeued-by-Slurm"],
)
def test_interrupted_training_goes_on_and_ends_with_the_same_weights(
    uninterrupted: tuple[Cluster, Path], slurm: PrivateSlurm, interruption: tuple[str, ...]
) -> None:
    cluster, whole = uninterrupted
    run = submitted(cluster, spec(cluster))
    train = job_id(run, "train")
    at = random_step(21, 50)
    slurm.wait_until(lambda: step(run) >= at, 120, f"{at} steps")
    slurm.run(*interruption, train)
    slurm.wait_until(lambda: slurm.job(train)["Restarts"] == "1", 60, "the requeue")
    slurm.wait_for(train, "COMPLETED", timeout=180)
    (log,) = (run / "logs" / "train").glob("*_0_log.out")
    assert len(went_on_from(run)) == 1
    assert went_on_from(run)[0] >= 20
    assert re.search(r"restart 1$", log.read_text(), re.MULTILINE)
    check_exact(run, whole)


def has_pending(process: psutil.Process, number: int) -> bool:
    """Whether a signal waits for a process (proc(5), SigPnd and ShdPnd: bit n-1 is signal n)."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    masks = re.findall(r"^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)", text, re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


@pytest.mark.timeout(360)
def test_a_real_time_limit_of_one_minute_is_met_with_a_save_and_a_requeue(
    uninterrupted: tuple[Cluster, Path], slurm: PrivateSlurm
) -> None:
    cluster, whole = uninterrupted
    site = ("--set-site", "jobs.train.signal_seconds=10")
    run = submitted(cluster, spec(cluster, time_limit="0:01:00"), *site)
    train = job_id(run, "train")
    at = random_step(21, 40)
    slurm.wait_until(lambda: step(run) >= at, 50, f"{at} steps")
    assert slurm.job(train)["TimeLimit"] == "00:01:00"
    # So short a run would be over before its limit: it is held until Slurm's warning has come.
    held = workers(run)
    assert sorted(held) == [0, 1]
    for process in held.values():
        process.suspend()
    try:
        slurm.wait_until(
            lambda: all(has_pending(p, signal.SIGUSR2) for p in held.values()), 70, "the warning"
        )
    finally:
        for process in held.values():
            process.resume()
    slurm.wait_until(lambda: slurm.job(train)["Restarts"] != "0", 60, "the requeue")
    slurm.wait_for(train, "COMPLETED", timeout=180)
    assert went_on_from(run)[0] >= at
    check_exact(run, whole)


@pytest.mark.timeout(360)
def test_a_killed_worker_with_a_new_checkpoint_is_restarted(
    uninterrupted: tuple[Cluster, Path], slurm: PrivateSlurm
) -> None:
    cluster, whole = uninterrupted
    run = submitted(cluster, spec(cluster))
    train = job_id(run, "train")
    at = random_step(24, 50)
    slurm.wait_until(lambda: step(run) >= at, 120, f"{at} steps")
    workers(run)[at % 2].kill()
    slurm.wait_for(train, "COMPLETED", timeout=240)
    assert slurm.job(train)["Restarts"] == "1"
    assert went_on_from(run) in ([20], [40])
    assert json.loads((run / "train/state.json").read_text())["restarts"] == 1
    (log,) = (run / "logs" / "train").glob("*_0_log.out")
    assert "restart 1 of at most 3 from the newest checkpoint" in log.read_text()
    check_exact(run, whole)


@pytest.mark.timeout(360)
def test_a_worker_killed_without_progress_fails_the_job_and_retry_goes_on(
    uninterrupted: tuple[Cluster, Path], slurm: PrivateSlurm
) -> None:
    cluster, whole = uninterrupted
    run = submitted(cluster, spec(cluster))
    train = job_id(run, "train")
    slurm.wait_until(lambda: step(run) >= 3, 120, "3 steps")
    refused = cluster.harness("retry", str(run))
    assert refused.returncode == 2
    assert "train still waiting or running" in refused.stderr
    workers(run)[0].kill()
    slurm.wait_for(train, "FAILED", timeout=120)
    assert leftovers(run) == []
    state = json.loads((run / "train/state.json").read_text())
    assert state["state"] == "failed"
    assert "the launcher exited" in state["error"]
    assert "error" in cluster.harness("status", str(run)).stdout + state["error"]
    again = cluster.harness("retry", str(run))
    assert again.returncode == 0, again.stderr
    assert "train: failed at step" in again.stderr
    train = job_id(run, "train")
    slurm.wait_for(train, "COMPLETED", timeout=180)
    check_exact(run, whole)
    before = len(json.loads((run / "manifest.json").read_text())["submissions"])
    done = cluster.harness("retry", str(run))
    assert (done.returncode, "nothing to retry" in done.stderr) == (0, True), done.stderr
    assert len(json.loads((run / "manifest.json").read_text())["submissions"]) == before == 2


@pytest.mark.timeout(360)
def test_a_lost_node_costs_the_steps_since_the_last_checkpoint_only(
    uninterrupted: tuple[Cluster, Path], slurm: PrivateSlurm
) -> None:
    cluster, whole = uninterrupted
    run = submitted(cluster, spec(cluster))
    train = job_id(run, "train")
    at = random_step(24, 50)
    slurm.wait_until(lambda: step(run) >= at, 120, f"{at} steps")
    node = slurm.job(train)["NodeList"]
    slurm.kill_slurmd(node)
    try:
        slurm.wait_for(train, "COMPLETED", timeout=240)
        assert slurm.job(train)["NodeList"] != node
        assert went_on_from(run) in ([20], [40])
        check_exact(run, whole)
    finally:
        slurm.start_slurmd(node)
        slurm.wait_until(lambda: slurm.node_states()[node] == "idle", 60, f"{node} to be back")


@pytest.mark.timeout(360)
def test_a_kill_in_the_middle_of_a_save_falls_back_to_the_marked_checkpoint(
    uninterrupted: tuple[Cluster, Path], slurm: PrivateSlurm
) -> None:
    cluster, whole = uninterrupted
    run = submitted(cluster, spec(cluster))
    train = job_id(run, "train")
    slurm.wait_until(lambda: 20 in complete_checkpoints(run / "checkpoints"), 120, "step 20")
    victims, deadline = workers(run), time.monotonic() + 120
    half = run / "checkpoints" / "checkpoint-40"
    while not half.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    for process in victims.values():
        process.kill()
    assert not (half / COMPLETE_MARKER).exists(), "the save was over before the kill"
    slurm.wait_for(train, "COMPLETED", timeout=240)
    assert went_on_from(run) == [20]
    assert len(list((run / "checkpoints").glob("checkpoint-40.incomplete-*"))) == 1
    check_exact(run, whole)


@pytest.mark.timeout(360)
def test_a_job_killed_outright_leaves_no_process_and_can_be_retried(
    uninterrupted: tuple[Cluster, Path], slurm: PrivateSlurm
) -> None:
    cluster, whole = uninterrupted
    run = submitted(cluster, spec(cluster))
    train = job_id(run, "train")
    at = random_step(21, 50)
    slurm.wait_until(lambda: step(run) >= at, 120, f"{at} steps")
    slurm.run("scancel", "--signal=KILL", train)
    slurm.wait_until(lambda: slurm.job_states(train)[train] != "RUNNING", 60, "the end")
    slurm.wait_until(lambda: leftovers(run) == [], 30, "no process to be left")
    shown = cluster.harness("status", str(run)).stdout
    assert "failed  step" in shown, shown
    assert "ended without a last word" in shown
    assert cluster.harness("retry", str(run)).returncode == 0
    slurm.wait_for(job_id(run, "train"), "COMPLETED", timeout=180)
    assert went_on_from(run) in ([20], [40])
    check_exact(run, whole)
