"""`submit` of 30 checkpoints x 7 benchmarks, against a bare loop of sbatch over the same scripts.

    python -m tests.benchmarks.submit [ROUNDS]

On the private Slurm of the tests; imports and checks excluded, timed from the staged run to the
last id. Both are done in turn, so that a drifting machine slows both; the ratio is of medians.
Everything is held back by a reservation-like priority of none: jobs are cancelled after each round.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.config.site import Site
from harness.config.spec import Spec
from harness.entry import run_job
from harness.runs.paths import RunPaths
from harness.scheduling.stage import Staged, stage
from harness.scheduling.submit import submit
from tests.slurm.cluster import PrivateSlurm

NAMES = ("gsm8k", "mmlu", "ifeval", "human-eval", "mbpp", "arithmetic", "instructions")
CHECKPOINTS = 30


def staged(folder: Path, number: int) -> Staged:
    spec = Spec.model_validate(
        {
            "name": f"many{number}",
            "train": {"model_name": "m", "dataset_name": "d", "max_steps": CHECKPOINTS * 10, "save_steps": 10},
            "evaluation": {"benchmarks": list(NAMES)},
        }
    )  # fmt: skip
    site = Site(scheduler="slurm", runs_dir=str(folder / "runs"), benchmarks_dir=str(folder / "b"))
    return stage(spec, site, "slurm", None)


def bare(run: RunPaths, jobs: list[str]) -> None:
    """What a person would write: one sbatch after the other, each array after training."""
    train = ""
    for name in jobs:
        after = [f"--dependency=afterok:{train}"] if train else []
        done = subprocess.run(
            ["sbatch", "--parsable", "--hold", *after, str(run.script(name))],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        train = train or done.stdout.strip()


def main(rounds: int = 7) -> None:
    seconds: dict[str, list[float]] = {"harness submit": [], "a bare loop": []}
    with tempfile.TemporaryDirectory() as name, PrivateSlurm() as slurm:
        os.environ.update(slurm.process_env())
        for number in range(rounds + 1):
            each = staged(Path(name), number)
            took = {}
            began = time.perf_counter()
            run = submit(each, run_job)
            took["harness submit"] = time.perf_counter() - began
            began = time.perf_counter()
            bare(run, [job.name for job in each.plan.jobs])
            took["a bare loop"] = time.perf_counter() - began
            subprocess.run(["scancel", "--user", "root"], check=True)
            if number:  # the first fills the caches
                for who, value in took.items():
                    seconds[who].append(value)
    ours, theirs = (statistics.median(found) for found in seconds.values())
    for who, found in seconds.items():
        print(
            f"{who:16} median {statistics.median(found):.3f} s of {rounds}, {min(found):.3f} to {max(found):.3f}"
        )
    print(f"{len(each.plan.jobs)} jobs: ratio {ours / theirs:.2f} (goal: at most 2)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
