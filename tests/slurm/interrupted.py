"""A training run that is to be interrupted, and what must be true of it in the end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import time
from pathlib import Path
from typing import Any

import psutil

from harness.compute.train.launcher import survivors
from harness.runs.checkpoints import complete_checkpoints

from .cluster import PrivateSlurm
from .test_chain import Cluster, job_id

STEPS = 60
BAD = ("FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", "OUT_OF_MEMORY")
LONG = 600
"""Seconds for what takes a quarter of a minute on an idle machine, and minutes on a busy one."""


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


def completes(slurm: PrivateSlurm, job: str) -> None:
    """Wait until a job is COMPLETED; fails as soon as it ends in another way."""

    def ended() -> bool:
        state = slurm.job_states(job)[job]
        assert state not in BAD, f"{job}: {state}"
        return state == "COMPLETED"

    slurm.wait_until(ended, LONG, f"{job} to be complete")


def reaches(slurm: PrivateSlurm, run: Path, at: int) -> None:
    """Wait until a run has trained that many steps; fails when its job ends."""

    def trained() -> bool:
        job = job_id(run, "train")
        state = slurm.job_states(job)[job]
        assert step(run) >= at or state not in (*BAD, "COMPLETED"), f"{job}: {state}"
        return step(run) >= at

    slurm.wait_until(trained, LONG, f"{at} steps")


def weights(run: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(run / "checkpoints" / f"checkpoint-{STEPS}" / "model.safetensors"))


def largest_difference(one: Path, other: Path) -> float:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


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
    # The job's own last processes end a moment after Slurm has called it complete.
    deadline = time.monotonic() + 60
    while left := leftovers(run):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def leftovers(run: Path) -> list[int]:
    """Training processes of any start of this run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
            if any(str(run) in word for word in words):
                found.append(process.pid)
    return found
