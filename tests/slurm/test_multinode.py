"""One training job on two nodes of a real Slurm: one process on each, gloo between them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.runs.checkpoints import complete_checkpoints, read_marker

from .cluster import PrivateSlurm
from .test_chain import Cluster, cluster, job_id  # noqa: F401  (a fixture)

pytest.importorskip("trl", reason="needs the extra `train`")

TWO_NODES = {"nodes": 2, "cpu_processes": 1}


def submitted(user: Cluster, **train: Any) -> tuple[Path, str]:
    done = user.harness("submit", str(user.spec([], **TWO_NODES, **train)))
    assert done.returncode == 0, (done.stdout, done.stderr)
    run = (user.folder / "runs" / "tiny" / "latest").resolve()
    return run, job_id(run, "train")


def state(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "train" / "state.json").read_text()))


def log(run: Path, job: str, node: int) -> str:
    return (run / "logs" / "train" / f"{job}_{node}_log.out").read_text()


def workers(job: str) -> dict[str, psutil.Process]:
    """Training processes of a job that live, by rank."""
    found = {}
    for process in psutil.process_iter():
        try:
            env = process.environ()
            ours = env.get("SLURM_JOB_ID") == job and "HARNESS_TRAIN_ATTEMPT" in env
            if ours and "RANK" in env and process.status() != psutil.STATUS_ZOMBIE:
                found[env["RANK"]] = process
        except psutil.Error:
            continue
    return found


def trained(run: Path) -> int:
    file = run / "train" / "log.jsonl"
    return len(file.read_text().splitlines()) if file.is_file() else 0


@pytest.mark.timeout(1200)
def test_two_nodes_train_as_one(cluster: Cluster, slurm: PrivateSlurm) -> None:  # noqa: F811
    run, job = submitted(cluster, max_steps=4, save_steps=2)
    slurm.wait_for(job, "COMPLETED", timeout=600)
    assert slurm.job(job)["NumNodes"] == "2"
    assert "2 processes on cpu" in log(run, job, 0)
    assert "step 4/4" in log(run, job, 0)
    for node in (0, 1):
        assert "training is complete at step 4 of 4" in log(run, job, node)
    # Who prints and marks is the first rank alone.
    assert len(re.findall("checkpoint-2 is complete", log(run, job, 0) + log(run, job, 1))) == 1
    for path in complete_checkpoints(run / "checkpoints").values():
        marker = read_marker(path)
        assert marker is not None
        assert marker["world_size"] == 2
        assert (path / "rng_state_1.pth").is_file()
    configs = [(run / "train" / f"accelerate-{node}.yaml").read_text() for node in (0, 1)]
    assert ["machine_rank: 0" in configs[0], "machine_rank: 1" in configs[1]] == [True, True]
    assert state(run)["state"] == "complete"
    assert workers(job) == {}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_usr2_saves_once_and_the_first_node_requeues(
    cluster: Cluster,  # noqa: F811
    slurm: PrivateSlurm,
) -> None:
    run, job = submitted(cluster, max_steps=60, save_steps=60, gradient_accumulation_steps=4)
    slurm.wait_until(lambda: trained(run) >= 5, 600, "5 steps")
    slurm.run("scancel", "--signal=USR2", job)
    slurm.wait_until(lambda: slurm.job(job)["Restarts"] == "1", 600, "the requeue")
    assert "Calling checkpoint method" in log(run, job, 0)
    assert "Calling checkpoint method" not in log(run, job, 1)
    slurm.wait_for(job, "COMPLETED", timeout=600)
    assert slurm.job(job)["Restarts"] == "1"
    text = log(run, job, 0)
    (step,) = re.findall(r"stopped at step (\d+)", text)
    assert 5 <= int(step) < 60
    assert f"going on from checkpoint-{step}" in text
    assert sorted(complete_checkpoints(run / "checkpoints")) == [int(step), 60]
    assert (state(run)["state"], state(run)["step"]) == ("complete", 60)
    assert workers(job) == {}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_failure_of_one_node_ends_the_other_and_is_told(
    cluster: Cluster,  # noqa: F811
    slurm: PrivateSlurm,
) -> None:
    run, job = submitted(cluster, max_steps=5000, save_steps=5000)
    slurm.wait_until(lambda: trained(run) >= 3, 600, "3 steps")
    began = time.monotonic()
    workers(job)["1"].kill()
    slurm.wait_for(job, "FAILED", timeout=600)
    print(f"the job ended {time.monotonic() - began:.0f} s after the kill")
    assert state(run)["state"] == "failed"
    told = state(run)["error"]
    assert re.match(r"node 1 \(.*\): a training process was killed by SIGKILL", told), told
    errors = (run / "logs" / "train" / f"{job}_1_log.err").read_text()
    assert f"{job}_1_log.out" in errors
    slurm.wait_until(lambda: workers(job) == {}, 120, "the end of every worker")
