"""The cells of a task, ready to be worked on, and what a run folder says of their model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.benchmarks.registry import BENCHMARKS
from harness.compute.evaluate.cell import CellWork
from harness.compute.evaluate.judge import Judge, judge_of
from harness.compute.evaluate.provenance import engine_version, template_sha256
from harness.compute.serve.launch import server_request
from harness.compute.serve.request import ServeRequest
from harness.compute.serve.server import RunningServer, serve
from harness.config.endpoint import RENAMED, merged
from harness.config.evaluation import EvaluationSpec
from harness.config.site import Site
from harness.errors import EvaluationError
from harness.plan.facts import RunFacts
from harness.plan.plan import Cell
from harness.processes.environments import role_wrapper
from harness.runs.checkpoints import fingerprint
from harness.runs.files import read_json, write_json
from harness.runs.metrics import read_metrics
from harness.runs.paths import BASE, RunPaths


def evaluated_folder(facts: RunFacts, checkpoint: str) -> Path | None:
    """The folder of the model to evaluate; None when training never completed that checkpoint.

    The base model is a folder, or the newest snapshot of its id in the Hub's cache. What `eval` was
    given is the folder itself, whoever trained it.
    """
    if checkpoint != BASE and facts.marker(checkpoint) is not None:
        return facts.checkpoints_dir / checkpoint
    if checkpoint == BASE or facts.train is None:
        return _local(facts.evaluated.base_model)
    return None


def _given_template(facts: RunFacts, checkpoint: str) -> str | None:
    """What a model is served with in place of its own template: a checkpoint of a run holds the one
    that it was trained with, the base model may not, and `eval` takes the one that it was given."""
    alone = checkpoint == BASE or facts.train is None
    return facts.evaluated.base_template if alone else None


def check_checkpoint(facts: RunFacts, checkpoint: str, folder: Path) -> None:
    """Raise EvaluationError when a folder is not what training marked, or is another run's.

    Looked at before a server is started: what it would answer is worth nothing.
    """
    marker = facts.marker(checkpoint) if checkpoint != BASE else None
    if marker is None:
        return
    marked, now = marker.get("fingerprint"), fingerprint(folder)
    if marked and now != marked:
        raise EvaluationError(
            f"{folder}: is not as training left it: it was {marked} when it was complete, and is "
            f"{now} now"
        )
    writer = marker.get("run")
    if facts.train is None or writer in (None, facts.run.run_id):
        return
    if facts.written.get(checkpoint) != marked:
        raise EvaluationError(f"{folder}: was written by run {writer}, not by this one")


def _local(model: str) -> Path:
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model))


def cell_works(
    facts: RunFacts,
    cells: Sequence[Cell],
    log: str,
    model: Path | None,
    judge: Judge | None = None,
    settled: Sequence[Cell] = (),
) -> list[CellWork]:
    """One for each cell; `model` is the folder that is evaluated, None for a server elsewhere.

    `settled` are those whose answers are only to be judged.
    """
    evaluation, site, spec = facts.evaluation, facts.site, facts.evaluated
    identity, engine = fingerprint(model) if model else "", evaluation.server.engine
    trained = spec.trained_template
    works = []
    for cell in cells:
        told_by: Callable[[RunningServer], str] = lambda server: ""  # noqa: E731
        served_template = ""
        if model:
            told_by = partial(engine_version, engine, wrap=role_wrapper(site, engine, []))
            served_template = template_sha256(model, _given_template(facts, cell.checkpoint))
        works.append(
            CellWork(
                cell=cell,
                paths=facts.run.cell(cell.checkpoint, cell.benchmark),
                evaluation=evaluation,
                benchmarks_dir=Path(site.benchmarks_dir),
                fingerprint=identity,
                log=log,
                job_id=os.environ.get("SLURM_JOB_ID", ""),
                request_body=request_body(evaluation, model) if model else {},
                judge=judge if BENCHMARKS[cell.benchmark].needs_judge else None,
                judged_apart=facts.plan.judging(cell) is not None,
                settled=cell in settled,
                model=model,
                template=Path(trained).read_text(encoding="utf-8") if trained else None,
                template_sha256=served_template,
                tokenizer=_tokenizer(facts, model),
                wrap=_backend_wrapper(site, cell),
                engine_version=told_by,
            )
        )
    return works


def _tokenizer(facts: RunFacts, model: Path | None) -> str:
    """Of the evaluated model: as the spec says, else its folder's; a server elsewhere may have one."""
    if facts.evaluation.lm_eval.tokenizer:
        return facts.evaluation.lm_eval.tokenizer
    named = facts.evaluated.base_model
    return str(model) if model else named if Path(named).is_dir() else ""


def _backend_wrapper(site: Site, cell: Cell) -> Callable[[list[str]], list[str]]:
    backend = BENCHMARKS[cell.benchmark].backend
    return list if backend == "builtin" else role_wrapper(site, backend, [])


def request_body(evaluation: EvaluationSpec, model: Path) -> dict[str, Any]:
    """Fields that an engine's requests need beside everybody's.

    `transformers serve` (5.23) leaves sampling off unless the model's own configuration has it on,
    whatever temperature a request names: so each request that samples carries the configuration.
    """
    if not evaluation.server.kind.samples_by_config:
        return {}
    file = model / "generation_config.json"
    own = read_json(file) if file.is_file() else {}
    return {"generation_config": json.dumps({**own, "do_sample": True})}


def probe_body(evaluation: EvaluationSpec, model: Path) -> dict[str, Any]:
    """Fields of the request that proves a server ready: those of all, but for their length."""
    sampling = evaluation.sampling
    ours = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        **(request_body(evaluation, model) if sampling.temperature else {}),
    }
    fields = merged(ours, evaluation.body)
    fields.pop(RENAMED, None)
    return fields


def candidate_request(facts: RunFacts, cell: Cell, model: Path, served: Path) -> ServeRequest:
    """What is asked of the server of a task: a model by its identity, from the folder `served`."""
    evaluation, run = facts.evaluation, facts.run
    return server_request(
        evaluation.server,
        facts.site,
        served,
        mounts=[str(run.root)],
        served_name=f"{run.name}/{cell.checkpoint}@{fingerprint(model)}",
        chat_template=_given_template(facts, cell.checkpoint),
        log_path=run.cell(cell.checkpoint, cell.benchmark).server_log,
        probe_body=probe_body(evaluation, model),
    )


def judge_for(facts: RunFacts, cells: Sequence[Cell]) -> Judge | None:
    """The judge of the cells that need one; a judge of our own is served when it is asked."""
    judged = [c for c in cells if BENCHMARKS[c.benchmark].needs_judge]
    if not judged:
        return None
    asked = facts.evaluation.judge
    if asked is None or asked.serve is None:
        return judge_of(asked)
    model = _local(asked.serve.model)
    request = server_request(
        asked.serve.server,
        facts.site,
        model,
        mounts=[str(facts.run.root)],
        served_name=f"{model.name}@{fingerprint(model)}",
        log_path=facts.run.cell(judged[0].checkpoint, judged[0].benchmark).judge_log,
    )
    return judge_of(asked, request.served_name, lambda: serve(request))


def combine_metrics(run: RunPaths, checkpoint: str) -> None:
    """All benchmarks of a checkpoint in one metrics.json, from the files that are there."""
    combined = {}
    for path in sorted(run.checkpoint_eval(checkpoint).glob("*/metrics.json")):
        combined.update(read_metrics(path))
    target = run.checkpoint_metrics(checkpoint)
    if combined and (not target.is_file() or read_json(target) != combined):
        write_json(target, combined)
