"""`status`, `collect` and `collect --batch` of many cells, against a bare loop over the same files.

    python -m tests.benchmarks.many_cells [--checkpoints 1000] [--benchmarks 10]

Prints, of each, CPU seconds (the best of three), how many times those of json.load over every
metrics.json and task.json that is, and by how much memory grew, imports excluded and in a process of
its own. The scheduler is not asked (one squeue call is its own).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import multiprocessing
import os
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
from harness.results.tree import collect_tree
from harness.runs.checkpoints import COMPLETE_MARKER
from harness.runs.metrics import TaskRecord, write_task
from harness.runs.paths import RunPaths, checkpoint_name
from harness.scheduling import status as status_module
from harness.scheduling.schedulers.scheduler import JobState
from harness.verbs.screen import print_table

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


def make_foreign(folder: Path, checkpoints: int, benchmarks: int) -> None:
    """A tree as `ns eval` writes it."""
    values = {"num_entries": 100, "avg_tokens": 90, "gen_seconds": 9, "symbolic_correct": 50.0}
    for number in range(1, checkpoints + 1):
        for benchmark in NAMES[:benchmarks]:
            cell = folder / f"global_step{number * 10}" / "eval-results" / benchmark
            cell.mkdir(parents=True)
            (cell / "metrics.json").write_text(
                json.dumps({benchmark: {"pass@1": values}}, indent=2)
            )
            (cell / "output.jsonl").write_text("{}\n")
            (cell / "output.jsonl.done").touch()


def make_tool_results(folder: Path, checkpoints: int, benchmarks: int) -> None:
    """Results files as lm-eval writes them, one for each checkpoint."""
    tasks = {f"task{n}": {"alias": f"task{n}", "acc,none": 0.5, "acc_stderr,none": 0.01}
             for n in range(benchmarks)}  # fmt: skip
    counts = {name: {"original": 100, "effective": 100} for name in tasks}
    text = json.dumps({"results": tasks, "n-samples": counts, "model_name": "m"}, indent=2)
    for number in range(1, checkpoints + 1):
        model = folder / f"step_{number * 10}" / "m"
        model.mkdir(parents=True)
        (model / "results_2026-01-01T10-00-00.000000.json").write_text(text)


def loop(root: Path) -> None:
    """json.load over the files that are read."""
    for folder, _, names in os.walk(root):
        for name in names:
            if name in ("metrics.json", "task.json") or name.startswith("results_2"):
                with open(os.path.join(folder, name)) as file:
                    json.load(file)


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds, the best of three."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def measure(name: str, root: Path, words: str) -> None:
    """One line about one command; run in a process of its own."""
    run = RunPaths(next(root.glob("*/*/manifest.json"), root / "x").parent)
    work: dict[str, Callable[[], object]] = {
        "status": lambda: status_module.run_status(run),
        "collect": lambda: print_table(collect_run(run), [], False),
        "batch": lambda: print_table(collect_tree(root), [], False),
    }
    import matplotlib.figure

    importlib.import_module("matplotlib.backends.backend_agg")
    matplotlib.figure.Figure()
    memory = peak()
    with (
        patch.object(status_module, "scheduler_named", lambda name, run: Done()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        spent = seconds(work[name])
    grown = peak() - memory
    bare = seconds(lambda: loop(root))
    print(f"{words:44} {spent:6.2f} s {spent / bare:5.1f} x {grown:6.0f} MB", flush=True)


def peak() -> float:
    """The most memory that this process ever had, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoints", type=int, default=1000)
    parser.add_argument("--benchmarks", type=int, default=10)
    given = parser.parse_args()
    sizes = (given.checkpoints, given.benchmarks)
    print(f"{sizes[0] * sizes[1]} cells{'':33} CPU  x loop  memory")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_run(root / "ours", *sizes)
        make_foreign(root / "ns", *sizes)
        make_tool_results(root / "lm-eval", *sizes)
        for name, tree, words in (
            ("status", "ours", "status of a run"),
            ("collect", "ours", "collect of a run, with its table and picture"),
            ("batch", "ours", "collect --batch of that run"),
            ("batch", "ns", "collect --batch of NeMo-Skills' tree"),
            ("batch", "lm-eval", "collect --batch of lm-eval's results"),
        ):
            one = multiprocessing.get_context("spawn").Process(
                target=measure, args=(name, root / tree, words)
            )
            one.start()
            one.join()


if __name__ == "__main__":
    main()
