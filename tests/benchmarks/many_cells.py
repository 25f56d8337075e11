"""`status` and `collect` of a run of many cells, against bare loops over the same files.

    python -m tests.benchmarks.many_cells [--checkpoints 1000] [--benchmarks 10]

Prints seconds and ratios, imports excluded; the scheduler is not asked (one squeue call is its own).
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from harness.config.site import Site
from harness.config.spec import Spec
from harness.plan.manifest import Manifest, Submission, write_manifest
from harness.plan.plan import build_plan
from harness.results.collect import collect_run
from harness.runs.checkpoints import COMPLETE_MARKER
from harness.runs.metrics import TaskRecord, write_task
from harness.runs.paths import RunPaths, checkpoint_name
from harness.scheduling import status as status_module
from harness.scheduling.schedulers.scheduler import JobState

NAMES = (
    "gsm8k", "mmlu", "ifeval", "human-eval", "mbpp", "arithmetic", "instructions",
    "lm-eval.arc_easy", "lm-eval.piqa", "lm-eval.boolq",
)  # fmt: skip
MARKER = {"fingerprint": "0123456789ab"}


class Done:
    """A scheduler for which every job has ended well."""

    name = "slurm"

    def states(self, ids: Any) -> dict[str, JobState]:
        return {job_id: JobState("completed") for job_id in ids}


def make_run(folder: Path, checkpoints: int, benchmarks: int) -> RunPaths:
    """A finished run in which every cell is ok."""
    run = RunPaths(folder / "many" / "20260101-000000-abcd")
    names = list(NAMES[:benchmarks])
    spec = Spec.model_validate(
        {
            "name": "many",
            "train": {"model_name": "m", "dataset_name": "d", "max_steps": checkpoints * 10, "save_steps": 10},
            "evaluation": {"benchmarks": names},
        }
    )  # fmt: skip
    run.root.mkdir(parents=True)
    run.spec.write_text(yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False))
    run.site.write_text("{}\n")
    plan = build_plan(spec, Site())
    jobs = [
        Submission(job=j.name, id=str(n), time="2026-01-01T00:00:00Z")
        for n, j in enumerate(plan.jobs, 1)
    ]
    manifest = Manifest(
        run_id=run.run_id,
        created="2026-01-01T00:00:00Z",
        scheduler="slurm",
        plan=plan,
        submissions=tuple(jobs),
    )
    write_manifest(run, manifest)
    facts = {
        **MARKER,
        "seconds": {"start": 1.0, "generate": 2.0},
        "versions": {"harness": "0"},
        "warnings": [],
    }
    record = TaskRecord(
        state="ok", started="2026-01-01T00:00:00Z", ended="2026-01-01T01:00:00Z", facts=facts
    )
    values = {
        "num_entries": 100,
        "avg_tokens": 90,
        "gen_seconds": 9,
        "symbolic_correct": 50.0,
        "no_answer": 1.0,
    }
    for number in range(1, checkpoints + 1):
        name = checkpoint_name(number * 10)
        marker = run.checkpoints / name / COMPLETE_MARKER
        marker.parent.mkdir(parents=True)
        marker.write_text(json.dumps({"step": number * 10, **MARKER}))
        for benchmark in names:
            cell = run.cell(name, benchmark)
            write_task(cell, record)
            cell.metrics.write_text(json.dumps({benchmark: {"pass@1": values}}, indent=2))
    return run


def timed(work: Callable[[], object]) -> float:
    """Seconds, the best of three."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def loop(run: RunPaths, *names: str) -> None:
    """json.load over these files of each cell."""
    for name in names:
        for path in run.eval.glob(f"*/*/{name}"):
            with path.open() as file:
                json.load(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=int, default=1000)
    parser.add_argument("--benchmarks", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder), given.checkpoints, given.benchmarks)
        cells = given.checkpoints * given.benchmarks
        with patch.object(status_module, "scheduler_named", lambda name, run: Done()):
            look = timed(lambda: status_module.run_status(run))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            collect = timed(lambda: collect_run(run))
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        bare = timed(lambda: loop(run, "metrics.json", "task.json"))
    print(
        f"{cells} cells: status {look:.2f} s, {look / bare:.1f} x a loop over metrics.json and task.json"
    )
    print(f"collect {collect:.2f} s, {collect / bare:.1f} x; memory {before:.0f} -> {after:.0f} MB")


if __name__ == "__main__":
    main()
