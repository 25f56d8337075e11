"""A job without GPUs: have a judge elsewhere judge answers that are on disk, write metrics."""

from __future__ import annotations

import signal
import sys

from harness.compute.evaluate.task import cell_works, combine_metrics, evaluated_folder, judge_for
from harness.errors import EvaluationError, HarnessError
from harness.plan.facts import RunFacts
from harness.plan.plan import Cell
from harness.runs.files import utc_now
from harness.runs.metrics import write_task
from harness.runs.paths import RunPaths


def run(run: RunPaths, job_name: str) -> str:
    """Judge every cell of a job whose answers are all there; returns what became of each.

    One that fails costs no other its judgements. Raises the first HarnessError, after recording it.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    facts = RunFacts(run)
    job = facts.plan.job(job_name)
    model = None if facts.external else evaluated_folder(facts, job.judges[0].checkpoint)
    if model is None and not facts.external:
        return _without_checkpoint(facts, job.judges)
    judge = judge_for(facts, job.judges)
    ended, failures = [], []
    for work in cell_works(facts, job.judges, facts.task_log(job), model, judge):
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
                work.fail(error)
                failures.append(error)
    combine_metrics(run, job.judges[0].checkpoint)
    print(*ended, sep="\n", flush=True)
    if failures:
        raise failures[0]
    return ", ".join(ended)


def _without_checkpoint(facts: RunFacts, cells: tuple[Cell, ...]) -> str:
    """Training never made it: there is nothing to judge. Or it is gone: its answers cannot count."""
    reason = f"{cells[0].checkpoint} is gone: whether these answers are its own cannot be told"
    gone = False
    for cell in cells:
        record = facts.record(cell.checkpoint, cell.benchmark)
        if record is not None and record.state == "answered":
            gone, told = True, {"state": "failed", "reason": reason, "ended": utc_now()}
            paths = facts.run.cell(cell.checkpoint, cell.benchmark)
            write_task(paths, record.model_copy(update=told))
    if gone:
        raise EvaluationError(reason)
    return "training made no such checkpoint: nothing to judge"
