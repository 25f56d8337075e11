"""Prepare a benchmark for jobs: its items, and for code benchmarks the expected outputs."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from filelock import FileLock

from harness.benchmarks.prepare import ground_truth_link, is_prepared, prepare, prepared_file
from harness.benchmarks.registry import BENCHMARKS
from harness.errors import UserError


def prepare_benchmark(
    name: str, benchmarks_dir: Path, source: Path | None = None, force: bool = False
) -> Path:
    """All that a job needs of a benchmark, once; returns the file of items.

    Raises UserError when the source cannot be had or a needed package is missing.
    """
    if is_prepared(benchmarks_dir, name) and not force:
        return prepared_file(benchmarks_dir, name)
    target = prepare(name, benchmarks_dir, source)
    if BENCHMARKS[name].runs_code:
        _prepare_ground_truth(name, benchmarks_dir, target)
    return target


def _prepare_ground_truth(name: str, benchmarks_dir: Path, items: Path) -> None:
    from harness.compute.evaluate.builtin.ground_truth import prepare_ground_truth

    dataset = BENCHMARKS[name].grader.partition(":")[2].replace("-", "")
    link = ground_truth_link(benchmarks_dir, name)
    with (
        FileLock(benchmarks_dir / f".{name}.lock"),
        tempfile.TemporaryDirectory(dir=benchmarks_dir) as scratch,
    ):
        print(f"{name}: computing the expected outputs (minutes, once)", flush=True)
        tasks = Path(scratch) / "tasks.jsonl"
        with items.open(encoding="utf-8") as rows, tasks.open("w", encoding="utf-8") as file:
            for line in rows:
                row = json.loads(line)
                row.pop("id"), row.pop("question")
                file.write(json.dumps(row) + "\n")
        try:
            folder = prepare_ground_truth(dataset, tasks, benchmarks_dir / "ground-truth")
        except ImportError as error:
            raise UserError(
                f"{name}: {error}; install the extra: pip install -e '.[eval]'"
            ) from None
        new = benchmarks_dir / f".{link.name}.{os.getpid()}"
        new.symlink_to(folder)
        os.replace(new, link)
