"""The cells of a task, ready to be worked on, and what a run folder says of their model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from harness.benchmarks.registry import BENCHMARKS
from harness.compute.evaluate.cell import CellWork
from harness.compute.evaluate.judge import Judge, judge_of
from harness.compute.evaluate.provenance import engine_version, template_sha256
from harness.compute.serve.launch import server_request, wrapper
from harness.compute.serve.server import serve
from harness.config.evaluate import EvalSpec
from harness.config.evaluation import EvaluationSpec
from harness.config.site import Role, Site
from harness.config.spec import Spec
from harness.errors import ServerError
from harness.plan.plan import Cell
from harness.runs.checkpoints import fingerprint, read_marker
from harness.runs.files import read_json, write_json
from harness.runs.metrics import read_metrics
from harness.runs.paths import BASE, RunPaths
from harness.scheduling.release import checkpoints_dir


def evaluation_of(spec: Spec | EvalSpec) -> EvaluationSpec:
    """What the spec says of evaluation."""
    assert spec.evaluation is not None, "an evaluation job exists only where evaluation is asked"
    return spec.evaluation


def model_folder(run: RunPaths, spec: Spec | EvalSpec, checkpoint: str) -> Path | None:
    """The folder to serve; None when training never completed that checkpoint.

    The base model is a folder, or the newest snapshot of its id in the Hub's cache.
    """
    if checkpoint != BASE:
        folder = checkpoints_dir(run) / checkpoint
        return folder if read_marker(folder) is not None else None
    return _local(spec.base_model)


def _local(model: str) -> Path:
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model))


def cell_works(
    run: RunPaths,
    spec: Spec | EvalSpec,
    site: Site,
    cells: tuple[Cell, ...],
    log: str,
    model: Path | None,
) -> list[CellWork]:
    """One for each cell; `model` is the folder that is evaluated, None for a server elsewhere."""
    identity, engine = fingerprint(model) if model else "", evaluation_of(spec).server.engine
    return [
        CellWork(
            cell=cell,
            paths=run.cell(cell.checkpoint, cell.benchmark),
            evaluation=evaluation_of(spec),
            benchmarks_dir=Path(site.benchmarks_dir),
            fingerprint=identity,
            log=log,
            job_id=os.environ.get("SLURM_JOB_ID", ""),
            request_body=request_body(evaluation_of(spec), model) if model else {},
            model=model,
            template=_template(spec),
            template_sha256=template_sha256(
                model, spec.base_template if cell.checkpoint == BASE else None
            )
            if model
            else "",
            wrap=_backend_wrapper(site, cell),
            engine_version=partial(engine_version, engine, wrap=wrapper(site, engine, []))
            if model
            else (lambda server: ""),
        )
        for cell in cells
    ]


def _backend_wrapper(site: Site, cell: Cell) -> Callable[[list[str]], list[str]]:
    backend = BENCHMARKS[cell.benchmark].backend
    return list if backend == "builtin" else wrapper(site, cast(Role, backend), [])


def _template(spec: Spec | EvalSpec) -> str | None:
    path = spec.trained_template
    return Path(path).read_text(encoding="utf-8") if path else None


def request_body(evaluation: EvaluationSpec, model: Path) -> dict[str, Any]:
    """`transformers serve` (5.23) leaves sampling off unless the model's own configuration has it
    on, whatever temperature a request names: so each request that samples carries the
    configuration."""
    if evaluation.server.engine != "transformers":
        return {}
    file = model / "generation_config.json"
    own = read_json(file) if file.is_file() else {}
    return {"generation_config": json.dumps({**own, "do_sample": True})}


def judge_for(
    run: RunPaths, spec: Spec | EvalSpec, site: Site, cells: tuple[Cell, ...]
) -> Judge | None:
    """The judge of the cells that need one; a judge of our own is served when it is asked."""
    judged = [c for c in cells if BENCHMARKS[c.benchmark].needs_judge]
    if not judged:
        return None
    asked = evaluation_of(spec).judge
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


def record_failure(works: list[CellWork], error: Exception) -> None:
    """Write down in each cell without a result why it has none."""
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
