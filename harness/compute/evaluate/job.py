"""One array task: start the server, prove it, generate, stop the server, grade, write metrics."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import cast

from harness.compute.evaluate.cell import CellWork
from harness.compute.evaluate.restart import generate_all
from harness.compute.evaluate.task import (
    cell_works,
    combine_metrics,
    evaluation_of,
    judge_for,
    model_folder,
    record_failure,
    request_body,
)
from harness.compute.serve.external import external_server
from harness.compute.serve.launch import server_request, wrapper
from harness.compute.serve.request import ServeRequest
from harness.compute.serve.server import RunningServer
from harness.config.evaluate import EvalSpec
from harness.config.load import PROJECT_ROOT, load_evaluated, load_site
from harness.config.site import Site
from harness.config.spec import Spec
from harness.errors import HarnessError
from harness.plan.plan import Cell
from harness.runs.checkpoints import ADAPTER_CONFIG, fingerprint, is_adapter
from harness.runs.files import read_json, utc_now
from harness.runs.metrics import TaskRecord, write_task
from harness.runs.paths import BASE, RunPaths
from harness.plan.manifest import read_manifest
from harness.processes.shell import call
from harness.scheduling.status import task_log

_MERGE_S = 24 * 3600.0
"""Merging ends with the job's time limit, not with one of its own."""


def run(run: RunPaths, job_name: str, task: int) -> str:
    """Make the cells of one array task; returns what became of them.

    Raises the HarnessError that stopped it, after recording it in each cell it cost.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    manifest = read_manifest(run)
    job = manifest.plan.job(job_name)
    log = task_log(run, manifest, job, task)
    began = task_start()
    spec, site = load_evaluated(run.spec), load_site(run.site)
    cells = job.tasks[task]
    external = spec.external if isinstance(spec, EvalSpec) else None
    model = None if external else model_folder(run, spec, cells[0].checkpoint)
    if model is None and not external:
        return _missing(run, cells, log)
    work = cell_works(run, spec, site, cells, log, model)
    try:
        judge = judge_for(run, spec, site, cells)
    except (HarnessError, OSError) as error:
        record_failure(work, error)
        raise
    for cell_work in work:
        cell_work.judge = judge if cell_work.benchmark.needs_judge else None
        cell_work.judged_apart = manifest.plan.judging(cell_work.cell) is not None
    todo = [w for w in work if not w.is_done()]
    if not todo:
        return "all cells were done already"
    try:
        asking = [w for w in todo if not w.has_answers()]
        for cell_work in todo:
            if cell_work not in asking:
                cell_work.generate(None)
        if asking and external:
            for cell_work in asking:
                cell_work.generate(cast(RunningServer, external_server(external)))
        elif asking:
            assert model is not None
            served = served_folder(site, model)
            for cell_work in asking:
                cell_work.served_fingerprint = fingerprint(served)
            request = serve_request(run, spec, site, cells[0], model, served)
            generate_all(asking, request, evaluation_of(spec).server.restarts)
        # The judged ones last: a judge that fails costs no other cell its grades.
        todo.sort(key=lambda w: w.judge is not None)
        with judge or nullcontext():
            states = [w.leave_to_judge() if w.judged_apart else w.grade() for w in todo]
        account(todo, began)
    except (HarnessError, OSError) as error:
        record_failure(todo, error)
        raise
    combine_metrics(run, cells[0].checkpoint)
    return ", ".join(f"{w.cell.benchmark}: {s}" for w, s in zip(todo, states, strict=True))


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
    argv = wrapper(site, "train", [str(PROJECT_ROOT), str(model), str(base)])(argv)
    env = {**os.environ, "PYTHONPATH": f"{PROJECT_ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    return Path(call(argv, timeout=_MERGE_S, env=env).splitlines()[-1])


def serve_request(
    run: RunPaths, spec: Spec | EvalSpec, site: Site, cell: Cell, model: Path, served: Path
) -> ServeRequest:
    """What is asked of the server of a task: a model by its identity, from the folder `served`."""
    evaluation = evaluation_of(spec)
    server = evaluation.server
    sampling = evaluation.sampling
    return server_request(
        server,
        site,
        served,
        mounts=[str(run.root)],
        served_name=f"{run.name}/{cell.checkpoint}@{fingerprint(model)}",
        # A checkpoint holds the template that it was trained with; the base model may not.
        chat_template=spec.base_template if cell.checkpoint == BASE else None,
        log_path=run.cell(cell.checkpoint, cell.benchmark).server_log,
        probe_body={
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **(request_body(evaluation, model) if sampling.temperature else {}),
        },
    )


def task_start() -> float:
    """When this task's GPUs were given to it, seconds since the epoch: Slurm's word, else now."""
    given = os.environ.get("SLURM_JOB_START_TIME", "")
    return float(given) if given.isdigit() else time.time()


def account(works: Sequence[CellWork], began: float) -> None:
    """Share the task's GPU seconds among its cells."""
    spent, whole = sum(sum(work.seconds.values()) for work in works), time.time() - began
    for work in works:
        work.account(whole, spent, len(works))


def _missing(run: RunPaths, cells: tuple[Cell, ...], log: str) -> str:
    reason = "training did not complete this checkpoint"
    for cell in cells:
        now = utc_now()
        record = TaskRecord(state="missing", reason=reason, log=log, started=now, ended=now)
        write_task(run.cell(cell.checkpoint, cell.benchmark), record)
    print(f"{cells[0].checkpoint}: {reason}")
    return "missing"
