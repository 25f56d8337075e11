"""One array task: start the server, prove it, generate, stop the server, grade, write metrics."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import cast

from harness.compute.evaluate.cell import CellWork
from harness.compute.evaluate.giving_up import go_on, stop_on_term, told_in_cells
from harness.compute.evaluate.restart import generate_all
from harness.compute.evaluate.task import (
    candidate_request,
    cell_works,
    check_checkpoint,
    combine_metrics,
    evaluated_folder,
    judge_for,
)
from harness.compute.serve.external import external_server
from harness.compute.serve.server import RunningServer
from harness.config.evaluate import ExternalServer
from harness.config.site import Site
from harness.package import ROOT
from harness.plan.facts import RunFacts
from harness.plan.plan import Cell
from harness.processes.environments import role_wrapper
from harness.processes.shell import tethered
from harness.runs.checkpoints import ADAPTER_CONFIG, fingerprint, is_adapter
from harness.runs.files import read_json
from harness.runs.metrics import record_absent
from harness.runs.paths import RunPaths

_MERGE_S = 24 * 3600.0
"""Merging ends with the job's time limit, not with one of its own."""


def run(run: RunPaths, job_name: str, task: int) -> str:
    """Make the cells of one array task; returns what became of them.

    Raises what stopped it, after recording it in each cell it cost.
    """
    stop_on_term()
    facts = RunFacts(run)
    job = facts.plan.job(job_name)
    cells, log = job.tasks[task], facts.task_log(job, task)
    works: list[CellWork] = []
    with told_in_cells(run, cells, log, works):
        return _make(facts, cells, log, works)


def _make(facts: RunFacts, cells: Sequence[Cell], log: str, works: list[CellWork]) -> str:
    began, run, external = task_start(), facts.run, facts.external
    checkpoint = cells[0].checkpoint
    model = None if external else evaluated_folder(facts, checkpoint)
    if model is None and not external:
        reason, written = "training did not complete this checkpoint", checkpoint in facts.written
        for cell in cells:
            record_absent(run.cell(cell.checkpoint, cell.benchmark), reason, log, written)
        print(f"{checkpoint}: {'it was deleted' if written else reason}")
        return "missing"
    try:
        if model:
            check_checkpoint(facts, checkpoint, model)
        judge = judge_for(facts, cells)
    except Exception:  # what is known of the cells is recorded with the reason
        works += cell_works(facts, cells, log, model)
        raise
    works += cell_works(facts, cells, log, model, judge)
    todo = [w for w in works if not w.is_done()]
    if not todo:
        return "all cells were done already"
    for work in todo:
        go_on(work.paths)
    _answer(facts, todo, model, external)
    # The judged ones last: a judge that fails costs no other cell its grades.
    todo.sort(key=lambda w: w.judge is not None)
    with judge or nullcontext():
        states = [w.leave_to_judge() if w.judged_apart else w.grade() for w in todo]
    account(todo, began)
    combine_metrics(run, checkpoint)
    return ", ".join(f"{w.cell.benchmark}: {s}" for w, s in zip(todo, states, strict=True))


def _answer(
    facts: RunFacts, todo: Sequence[CellWork], model: Path | None, external: ExternalServer | None
) -> None:
    """Every answer of every cell on disk; a server is started only where one is missing."""
    asking = [w for w in todo if not w.has_answers()]
    for work in todo:
        if work not in asking:
            work.generate(None)
    if asking and external:
        for work in asking:
            work.generate(cast(RunningServer, external_server(external)))
    elif asking:
        assert model is not None
        served = served_folder(facts.site, model)
        identity = fingerprint(served)
        for work in asking:
            work.note_served(identity)
        request = candidate_request(facts, todo[0].cell, model, served)
        generate_all(asking, request, facts.evaluation.server.restarts)


def served_folder(site: Site, model: Path) -> Path:
    """What the server loads: the model itself, or a LoRA checkpoint merged into its base.

    Merged once for all tasks, in the role `train`'s environment, which has PEFT and torch.
    Raises CommandError when it cannot be merged.
    """
    if not is_adapter(model):
        return model
    print(
        f"{model.name}: its adapter is merged into the base model, or another task does", flush=True
    )
    base = read_json(model / ADAPTER_CONFIG).get("base_model_name_or_path")
    argv = ["python", "-m", "harness.compute.train.merge", str(model)]
    argv = role_wrapper(site, "train", [str(ROOT), str(model), str(base)])(argv)
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    return Path(tethered(argv, timeout=_MERGE_S, env=env).splitlines()[-1])


def task_start() -> float:
    """When this task's GPUs were given to it, seconds since the epoch: Slurm's word, else now."""
    given = os.environ.get("SLURM_JOB_START_TIME", "")
    return float(given) if given.isdigit() else time.time()


def account(works: Sequence[CellWork], began: float) -> None:
    """Share the task's GPU seconds among its cells."""
    spent, whole = sum(sum(work.seconds.values()) for work in works), time.time() - began
    for work in works:
        work.account(whole, spent, len(works))
