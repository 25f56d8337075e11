"""A job without GPUs: have a judge elsewhere judge answers that are on disk, write metrics."""

from __future__ import annotations

import signal
import sys

from harness.compute.evaluate.task import (
    cell_works,
    combine_metrics,
    judge_for,
    model_folder,
    record_failure,
)
from harness.config.evaluate import EvalSpec
from harness.config.load import load_evaluated, load_site
from harness.errors import EvaluationError, HarnessError
from harness.plan.plan import Cell
from harness.runs.files import utc_now
from harness.runs.metrics import read_task, write_task
from harness.runs.paths import RunPaths
from harness.plan.manifest import read_manifest
from harness.scheduling.status import task_log


def run(run: RunPaths, job_name: str) -> str:
    """Judge every cell of a job whose answers are all there; returns what became of each.

    One that fails costs no other its judgements. Raises the first HarnessError, after recording it.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    manifest = read_manifest(run)
    job = manifest.plan.job(job_name)
    spec, site = load_evaluated(run.spec), load_site(run.site)
    external = isinstance(spec, EvalSpec) and spec.external is not None
    model = None if external else model_folder(run, spec, job.judges[0].checkpoint)
    if model is None and not external:
        return _without_checkpoint(run, job.judges)
    works = cell_works(run, spec, site, job.judges, task_log(run, manifest, job, 0), model)
    judge = judge_for(run, spec, site, job.judges)
    ended, failures = [], []
    for work in works:
        work.judge, work.judged_apart = judge, True
        name = work.cell.benchmark
        if work.is_done():
            ended.append(f"{name}: done already")
        elif not work.has_answers():
            ended.append(f"{name}: no answers to judge")
        else:
            try:
                work.generate(None)
                ended.append(f"{name}: {work.grade('judge')}")
                work.account(0.0, 0.0, 1)
            except (HarnessError, OSError) as error:
                record_failure([work], error)
                failures.append(error)
    combine_metrics(run, job.judges[0].checkpoint)
    print(*ended, sep="\n", flush=True)
    if failures:
        raise failures[0]
    return ", ".join(ended)


def _without_checkpoint(run: RunPaths, cells: tuple[Cell, ...]) -> str:
    """Training never made it: there is nothing to judge. Or it is gone: its answers cannot count."""
    reason = f"{cells[0].checkpoint} is gone: whether these answers are its own cannot be told"
    gone = False
    for cell in cells:
        paths = run.cell(cell.checkpoint, cell.benchmark)
        record = read_task(paths)
        if record is not None and record.state == "answered":
            gone, told = True, {"state": "failed", "reason": reason, "ended": utc_now()}
            write_task(paths, record.model_copy(update=told))
    if gone:
        raise EvaluationError(reason)
    return "training made no such checkpoint: nothing to judge"
