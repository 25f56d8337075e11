"""Interrupted training on a real Slurm: saved together, requeued, and exactly what it would have been."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.runs.checkpoints import complete_checkpoints

from .cluster import PrivateSlurm
from .test_chain import Cluster, job_id

pytest.importorskip("trl", reason="needs the extra `train`")

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


@pytest.fixture(scope="module")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, slurm: PrivateSlurm
) -> tuple[Cluster, Path]:
    """A finished run, and the folder with its model and data."""
    cluster = Cluster(tmp_path_factory.mktemp("requeue"), slurm)
    run = submitted(cluster, spec(cluster))
    slurm.wait_for(job_id(run, "train"), "COMPLETED", timeout=180)
    return cluster, run


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
    slurm.wait_until(lambda: step(run) >= 25, 120, "25 steps")
    slurm.run(*interruption, train)
    slurm.wait_until(lambda: slurm.job(train)["Restarts"] == "1", 60, "the requeue")
    slurm.wait_for(train, "COMPLETED", timeout=180)
    state = json.loads((run / "train" / "state.json").read_text())
    assert (state["state"], state["step"]) == ("complete", STEPS)
    (log,) = (run / "logs" / "train").glob("*_0_log.out")
    went_on = re.findall(r"going on from checkpoint-(\d+)", log.read_text())
    assert len(went_on) == 1
    assert int(went_on[0]) >= 20
    assert re.search(r"restart 1$", log.read_text(), re.MULTILINE)
    assert {20, 40, STEPS} <= set(complete_checkpoints(run / "checkpoints"))
    assert largest_difference(run, whole) == 0.0
