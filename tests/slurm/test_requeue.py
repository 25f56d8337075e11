"""Interrupted training on a real Slurm: saved together, requeued, and exactly what it would have been."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from .cluster import PrivateSlurm
from .test_chain import Cluster, cluster, job_id

pytest.importorskip("trl", reason="needs the extra `train`")
__all__ = ["cluster"]

STEPS = 60


def spec(cluster: Cluster, **train: Any) -> str:
    return str(
        cluster.spec([], max_steps=STEPS, save_steps=20, gradient_accumulation_steps=4, **train)
    )


def submitted(cluster: Cluster, path: str) -> Path:
    done = cluster.harness("submit", path)
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


@pytest.mark.timeout(360)
def test_training_told_to_stop_is_requeued_and_ends_with_the_same_weights(
    cluster: Cluster, slurm: PrivateSlurm
) -> None:
    run = submitted(cluster, spec(cluster))
    train = job_id(run, "train")
    slurm.wait_until(lambda: step(run) >= 5, 120, "five steps")
    slurm.run("scancel", "--signal=USR2", train)
    slurm.wait_until(lambda: slurm.job(train)["Restarts"] == "1", 60, "the requeue")
    marked = [p.parent for p in (run / "checkpoints").glob("checkpoint-*/HARNESS_COMPLETE.json")]
    assert marked, "the interruption saved nothing"
    newest = max(int(p.name.rpartition("-")[2]) for p in marked)
    slurm.wait_for(train, "COMPLETED", timeout=180)
    state = json.loads((run / "train" / "state.json").read_text())
    assert (state["state"], state["step"]) == ("complete", STEPS)
    (log,) = (run / "logs" / "train").glob("*_0_log.out")
    assert f"going on from checkpoint-{newest}" in log.read_text()
    assert re.search(r"restart 1$", log.read_text(), re.MULTILINE)

    time.sleep(1)  # run ids have seconds
    uninterrupted = submitted(cluster, spec(cluster))
    slurm.wait_for(job_id(uninterrupted, "train"), "COMPLETED", timeout=180)
    assert largest_difference(run, uninterrupted) == 0.0
