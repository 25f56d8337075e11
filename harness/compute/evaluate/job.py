"""One array task: start the server, prove it, generate, stop the server, grade, write metrics."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

from harness.benchmarks.registry import BENCHMARKS
from harness.compute.evaluate.cell import CellWork
from harness.compute.evaluate.judge import Judge, judge_of
from harness.compute.evaluate.provenance import engine_version, template_sha256
from harness.compute.evaluate.restart import generate_all
from harness.compute.serve.launch import server_request, wrapper
from harness.compute.serve.request import ServeRequest
from harness.compute.serve.server import serve
from harness.config.evaluation import EvaluationSpec
from harness.config.load import PROJECT_ROOT, load_site, load_spec
from harness.config.site import Role, Site
from harness.config.spec import Spec
from harness.errors import HarnessError, ServerError
from harness.plan import Cell
from harness.runs.checkpoints import ADAPTER_CONFIG, fingerprint, is_adapter, read_marker
from harness.runs.files import read_json, utc_now, write_json
from harness.runs.metrics import TaskRecord, read_metrics, write_task
from harness.runs.paths import BASE, RunPaths
from harness.scheduling.manifest import read_manifest
from harness.scheduling.release import checkpoints_dir
from harness.scheduling.shell import call
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
    spec, site = load_spec(run.spec), load_site(run.site)
    cells = job.tasks[task]
    model = model_folder(run, spec, cells[0].checkpoint)
    if model is None:
        return _missing(run, cells, log)
    work = _cell_works(run, spec, site, cells, log, model)
    try:
        judge = _judge(run, spec, site, cells)
    except (HarnessError, OSError) as error:
        _record_failure(work, error)
        raise
    for cell_work in work:
        cell_work.judge = judge if cell_work.benchmark.needs_judge else None
    todo = [w for w in work if not w.is_done()]
    if not todo:
        return "all cells were done already"
    try:
        asking = [w for w in todo if not w.has_answers()]
        for cell_work in todo:
            if cell_work not in asking:
                cell_work.generate(None)
        if asking:
            served = served_folder(site, model)
            for cell_work in asking:
                cell_work.served_fingerprint = fingerprint(served)
            request = serve_request(run, spec, site, cells[0], model, served)
            generate_all(asking, request, _evaluation(spec).server.restarts)
        # The judged ones last: a judge that fails costs no other cell its grades.
        todo.sort(key=lambda w: w.judge is not None)
        with judge or nullcontext():
            states = [cell_work.grade() for cell_work in todo]
        account(todo, began)
    except (HarnessError, OSError) as error:
        _record_failure(todo, error)
        raise
    combine_metrics(run, cells[0].checkpoint)
    return ", ".join(f"{w.cell.benchmark}: {s}" for w, s in zip(todo, states, strict=True))


def model_folder(run: RunPaths, spec: Spec, checkpoint: str) -> Path | None:
    """The folder to serve; None when training never completed that checkpoint.

    The base model is a folder, or the newest snapshot of its id in the Hub's cache.
    """
    if checkpoint != BASE:
        folder = checkpoints_dir(run) / checkpoint
        return folder if read_marker(folder) is not None else None
    return _local(spec.train.model_name)


def _local(model: str) -> Path:
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model))


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
    run: RunPaths, spec: Spec, site: Site, cell: Cell, model: Path, served: Path
) -> ServeRequest:
    """What is asked of the server of a task: a model by its identity, from the folder `served`."""
    evaluation = _evaluation(spec)
    server = evaluation.server
    sampling = evaluation.sampling
    return server_request(
        server,
        site,
        served,
        mounts=[str(run.root)],
        served_name=f"{run.name}/{cell.checkpoint}@{fingerprint(model)}",
        # A checkpoint holds the template that it was trained with; the base model may not.
        chat_template=spec.train.chat_template_path if cell.checkpoint == BASE else None,
        log_path=run.cell(cell.checkpoint, cell.benchmark).server_log,
        probe_body={
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **(_request_body(evaluation, model) if sampling.temperature else {}),
        },
    )


def _judge(run: RunPaths, spec: Spec, site: Site, cells: tuple[Cell, ...]) -> Judge | None:
    """The judge of the cells that need one; a judge of our own is served when it is asked."""
    judged = [c for c in cells if BENCHMARKS[c.benchmark].needs_judge]
    if not judged:
        return None
    asked = _evaluation(spec).judge
    if asked is None or asked.serve is None:
        return judge_of(asked)
    model = _local(asked.serve.model)
    request = server_request(
        asked.serve.server,
        site,
        model,
        mounts=[str(run.root)],
        served_name=f"{model.name}@{fingerprint(model)}",
        log_path=run.cell(judged[0].checkpoint, judged[0].benchmark).judge_log,
    )
    return judge_of(asked, request.served_name, lambda: serve(request))


def _evaluation(spec: Spec) -> EvaluationSpec:
    assert spec.evaluation is not None, "an evaluation job exists only where evaluation is asked"
    return spec.evaluation


def _cell_works(
    run: RunPaths, spec: Spec, site: Site, cells: tuple[Cell, ...], log: str, model: Path
) -> list[CellWork]:
    identity, engine = fingerprint(model), _evaluation(spec).server.engine
    return [
        CellWork(
            cell=cell,
            paths=run.cell(cell.checkpoint, cell.benchmark),
            evaluation=_evaluation(spec),
            benchmarks_dir=Path(site.benchmarks_dir),
            fingerprint=identity,
            log=log,
            job_id=os.environ.get("SLURM_JOB_ID", ""),
            request_body=_request_body(_evaluation(spec), model),
            model=model,
            template=_template(spec),
            template_sha256=template_sha256(
                model, spec.train.chat_template_path if cell.checkpoint == BASE else None
            ),
            wrap=_backend_wrapper(site, cell),
            engine_version=partial(engine_version, engine, wrap=wrapper(site, engine, [])),
        )
        for cell in cells
    ]


def _backend_wrapper(site: Site, cell: Cell) -> Callable[[list[str]], list[str]]:
    backend = BENCHMARKS[cell.benchmark].backend
    return list if backend == "builtin" else wrapper(site, cast(Role, backend), [])


def _template(spec: Spec) -> str | None:
    path = spec.train.chat_template_path
    return Path(path).read_text(encoding="utf-8") if path else None


def task_start() -> float:
    """When this task's GPUs were given to it, seconds since the epoch: Slurm's word, else now."""
    given = os.environ.get("SLURM_JOB_START_TIME", "")
    return float(given) if given.isdigit() else time.time()


def account(works: Sequence[CellWork], began: float) -> None:
    """Share the task's GPU seconds among its cells."""
    spent, whole = sum(sum(work.seconds.values()) for work in works), time.time() - began
    for work in works:
        work.account(whole, spent, len(works))


def _request_body(evaluation: EvaluationSpec, model: Path) -> dict[str, Any]:
    """`transformers serve` (5.23) leaves sampling off unless the model's own configuration has it
    on, whatever temperature a request names: so each request that samples carries the
    configuration."""
    if evaluation.server.engine != "transformers":
        return {}
    file = model / "generation_config.json"
    own = read_json(file) if file.is_file() else {}
    return {"generation_config": json.dumps({**own, "do_sample": True})}


def _missing(run: RunPaths, cells: tuple[Cell, ...], log: str) -> str:
    reason = "training did not complete this checkpoint"
    for cell in cells:
        now = utc_now()
        record = TaskRecord(state="missing", reason=reason, log=log, started=now, ended=now)
        write_task(run.cell(cell.checkpoint, cell.benchmark), record)
    print(f"{cells[0].checkpoint}: {reason}")
    return "missing"


def _record_failure(works: list[CellWork], error: Exception) -> None:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    for work in works:
        if not work.paths.metrics.is_file():
            if isinstance(error, ServerError) and error.log:
                work.log = str(error.log)
            work.record("failed", reason)


def combine_metrics(run: RunPaths, checkpoint: str) -> None:
    """All benchmarks of a checkpoint in one metrics.json, from the files that are there."""
    combined = {}
    for path in sorted(run.checkpoint_eval(checkpoint).glob("*/metrics.json")):
        combined.update(read_metrics(path))
    target = run.checkpoint_metrics(checkpoint)
    if combined and (not target.is_file() or read_json(target) != combined):
        write_json(target, combined)
