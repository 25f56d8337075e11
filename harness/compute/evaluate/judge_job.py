"""A job without GPUs: have a judge elsewhere judge answers that are on disk, write metrics."""

from __future__ import annotations

from collections.abc import Sequence

from harness.compute.evaluate.cell import CellWork
from harness.compute.evaluate.giving_up import stop_on_term, told_in_cells
from harness.compute.evaluate.task import cell_works, combine_metrics, evaluated_folder, judge_for
from harness.errors import EvaluationError, ResultError
from harness.plan.facts import RunFacts
from harness.plan.plan import Cell
from harness.runs.files import utc_now
from harness.runs.metrics import write_task
from harness.runs.paths import RunPaths


def run(run: RunPaths, job_name: str) -> str:
    """Judge every cell of a job whose answers are all there; returns what became of each.

    One that fails costs no other its judgements. Raises the first error, after recording it.
    """
    stop_on_term()
    facts = RunFacts(run)
    job = facts.plan.job(job_name)
    log = facts.task_log(job)
    answered = [cell for cell in job.judges if _is_answered(facts, cell)]
    works: list[CellWork] = []
    with told_in_cells(run, answered, log, works):
        return _judge(facts, job.judges, answered, log, works)


def _judge(
    facts: RunFacts,
    cells: Sequence[Cell],
    answered: Sequence[Cell],
    log: str,
    works: list[CellWork],
) -> str:
    model = None if facts.external else evaluated_folder(facts, cells[0].checkpoint)
    if model is None and not facts.external:
        return _without_checkpoint(facts, cells)
    judge = judge_for(facts, cells)
    works += cell_works(facts, cells, log, model, judge, settled=answered)
    ended, failures = [], []
    for work in works:
        try:
            ended.append(f"{work.cell.benchmark}: {_judged(work)}")
        except Exception as error:
            work.fail(error)
            failures.append(error)
    combine_metrics(facts.run, cells[0].checkpoint)
    print(*ended, sep="\n", flush=True)
    if failures:
        raise failures[0]
    return ", ".join(ended)


def _is_answered(facts: RunFacts, cell: Cell) -> bool:
    try:
        record = facts.record(cell.checkpoint, cell.benchmark)
    except ResultError:  # told when the cell itself is looked at
        return False
    return record is not None and record.is_answered


def _judged(work: CellWork) -> str:
    if work.is_done():
        return "done already"
    if not work.has_answers():
        return "no answers to judge"
    work.generate(None)
    state = work.grade("judge")
    work.account(0.0, 0.0, 1)
    return state


def _without_checkpoint(facts: RunFacts, cells: Sequence[Cell]) -> str:
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
