"""Interrupted training on a real Slurm: saved together, requeued, and exactly what it would have been."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from harness.compute.train.launcher import has_pending
from harness.runs.checkpoints import complete_checkpoints
from harness.runs.paths import COMPLETE_MARKER

from .cluster import PrivateSlurm
from .interrupted import (
    BAD,
    LONG,
    STEPS,
    check_exact,
    completes,
    leftovers,
    random_step,
    reaches,
    spec,
    step,
    submitted,
    went_on_from,
    workers,
)  # fmt: skip
from .test_chain import Cluster, job_id

pytest.importorskip("trl", reason="needs the extra `train`")


@pytest.fixture(scope="module")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, slurm: PrivateSlurm
) -> tuple[Cluster, Path]:
    """A finished run, and the folder with its model and data."""
    cluster = Cluster(tmp_path_factory.mktemp("requeue"), slurm)
    run = submitted(cluster, spec(cluster))
    completes(slurm, job_id(run, "train"))
    return cluster, run


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "interruption",
    [("scancel", "--signal=USR2"), pytest.param(("scontrol", "requeue"), marks=pytest.mark.slow)],
    ids=["told-by-USR2", "requeued-by-Slurm"],
)
def test_interrupted_training_goes_on_and_ends_with_the_same_weights(
    uninterrupted: tuple[Cluster, Path], slurm: PrivateSlurm, interruption: tuple[str, ...]
) -> None:
    cluster, whole = uninterrupted
    run = submitted(cluster, spec(cluster))
    train = job_id(run, "train")
    at = random_step(21, 50)
    reaches(slurm, run, at)
    slurm.run(*interruption, train)
    slurm.wait_until(lambda: slurm.job(train)["Restarts"] == "1", LONG, "the requeue")
    completes(slurm, train)
    (log,) = (run / "logs" / "train").glob("*_0_log.out")
    assert len(went_on_from(run)) == 1
    assert went_on_from(run)[0] >= 20
    assert re.search(r"restart 1$", log.read_text(), re.MULTILINE)
    check_exact(run, whole)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_real_time_limit_of_one_minute_is_met_with_a_save_and_a_requeue(
    uninterrupted: tuple[Cluster, Path], slurm: PrivateSlurm
) -> None:
    cluster, whole = uninterrupted
    site = ("--set-site", "jobs.train.signal_seconds=10")
    run = submitted(cluster, spec(cluster, time_limit="0:01:00"), *site)
    train = job_id(run, "train")
    assert slurm.job(train)["TimeLimit"] == "00:01:00"

    def requeued() -> bool:
        return slurm.job(train)["Restarts"] != "0"

    # Slurm warns up to a minute early. So short a run may also be over before that: then it is
    # held until the warning has come.
    slurm.wait_until(lambda: step(run) >= 3 or requeued(), LONG, "3 steps, or the limit")
    held = [] if requeued() else list(workers(run).values())
    for process in held:
        process.suspend()
    at = step(run)
    assert at < STEPS
    try:
        slurm.wait_until(
            lambda: requeued() or all(has_pending(p.pid, signal.SIGUSR2) for p in held),
            LONG,
            "the warning",
        )
    finally:
        for process in held:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
    slurm.wait_until(requeued, LONG, "the requeue")
    slurm.run("scontrol", "update", f"jobid={train}", "TimeLimit=10")  # once is enough
    completes(slurm, train)
    (log,) = (run / "logs" / "train").glob("*_0_log.out")
    assert "Job has timed out" in log.read_text()
    assert len(went_on_from(run)) == 1
    assert max(at, 1) <= went_on_from(run)[0] < STEPS
    check_exact(run, whole)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_worker_with_a_new_checkpoint_is_restarted(
    uninterrupted: tuple[Cluster, Path], slurm: PrivateSlurm
) -> None:
    cluster, whole = uninterrupted
    run = submitted(cluster, spec(cluster))
    train = job_id(run, "train")
    at = random_step(24, 50)
    reaches(slurm, run, at)
    workers(run)[at % 2].kill()
    completes(slurm, train)
    assert slurm.job(train)["Restarts"] == "1"
    assert went_on_from(run) in ([20], [40])
    assert json.loads((run / "train/state.json").read_text())["restarts"] == 1
    (log,) = (run / "logs" / "train").glob("*_0_log.out")
    assert "restart 1 of at most 3 from the newest checkpoint" in log.read_text()
    check_exact(run, whole)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_worker_killed_without_progress_fails_the_job_and_retry_goes_on(
    uninterrupted: tuple[Cluster, Path], slurm: PrivateSlurm
) -> None:
    cluster, whole = uninterrupted
    run = submitted(cluster, spec(cluster))
    train = job_id(run, "train")
    reaches(slurm, run, 3)
    refused = cluster.harness("retry", str(run))
    assert refused.returncode == 2
    assert "train still waiting or running" in refused.stderr
    workers(run)[0].kill()
    slurm.wait_for(train, "FAILED", timeout=LONG)
    slurm.wait_until(lambda: leftovers(run) == [], 120, "no process to be left")
    state = json.loads((run / "train/state.json").read_text())
    assert state["state"] == "failed"
    assert "the launcher exited" in state["error"]
    shown = cluster.harness("status", str(run)).stdout
    assert "a training process was killed by SIGKILL" in shown, shown
    again = cluster.harness("retry", str(run))
    assert again.returncode == 0, again.stderr
    assert "train: failed at step" in again.stderr
    train = job_id(run, "train")
    completes(slurm, train)
    check_exact(run, whole)
    before = len(json.loads((run / "manifest.json").read_text())["submissions"])
    done = cluster.harness("retry", str(run))
    assert (done.returncode, "nothing to retry" in done.stderr) == (0, True), done.stderr
    assert len(json.loads((run / "manifest.json").read_text())["submissions"]) == before == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_lost_node_costs_the_steps_since_the_last_checkpoint_only(
    uninterrupted: tuple[Cluster, Path], slurm: PrivateSlurm
) -> None:
    cluster, whole = uninterrupted
    run = submitted(cluster, spec(cluster))
    train = job_id(run, "train")
    at = random_step(24, 50)
    reaches(slurm, run, at)
    node = slurm.job(train)["NodeList"]
    slurm.kill_slurmd(node)
    try:
        completes(slurm, train)
        assert slurm.job(train)["NodeList"] != node
        assert went_on_from(run) in ([20], [40])
        check_exact(run, whole)
    finally:
        slurm.start_slurmd(node)
        slurm.wait_until(lambda: slurm.node_states()[node] == "idle", LONG, f"{node} to be back")


@pytest.mark.timeout(1800)
def test_a_kill_in_the_middle_of_a_save_falls_back_to_the_marked_checkpoint(
    uninterrupted: tuple[Cluster, Path], slurm: PrivateSlurm
) -> None:
    cluster, whole = uninterrupted
    run = submitted(cluster, spec(cluster))
    train = job_id(run, "train")
    slurm.wait_until(lambda: 20 in complete_checkpoints(run / "checkpoints"), LONG, "step 20")
    victims, deadline = workers(run), time.monotonic() + LONG
    half = run / "checkpoints" / "checkpoint-40"
    while not half.exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    for process in victims.values():
        process.kill()
    assert not (half / COMPLETE_MARKER).exists(), "the save was over before the kill"
    completes(slurm, train)
    assert went_on_from(run) == [20]
    assert len(list((run / "checkpoints").glob("checkpoint-40.incomplete-*"))) == 1
    check_exact(run, whole)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_job_killed_outright_leaves_no_process_and_can_be_retried(
    uninterrupted: tuple[Cluster, Path], slurm: PrivateSlurm
) -> None:
    cluster, whole = uninterrupted
    run = submitted(cluster, spec(cluster))
    train = job_id(run, "train")
    at = random_step(21, 50)
    reaches(slurm, run, at)
    slurm.run("scancel", "--signal=KILL", train)
    slurm.wait_until(lambda: slurm.job_states(train)[train] in BAD, LONG, "the end")
    slurm.wait_until(lambda: leftovers(run) == [], 120, "no process to be left")
    shown = cluster.harness("status", str(run)).stdout
    # Its workers may have had the time to save, or not: the state says which.
    assert re.search(r"(failed|preempted)  step", shown), shown
    assert "failed" not in shown or "ended without a last word" in shown
    assert cluster.harness("retry", str(run)).returncode == 0
    completes(slurm, job_id(run, "train"))
    assert went_on_from(run)[0] >= 20
    check_exact(run, whole)
