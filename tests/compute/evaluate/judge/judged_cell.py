"""A cell whose answers are there, and its judge: a server of our own that speaks the protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.compute.evaluate.cell import CellWork
from harness.compute.evaluate.earlier import reopen
from harness.compute.evaluate.judge import Judge
from harness.config.evaluation import EvaluationSpec
from harness.config.judge import JudgeSpec
from harness.plan.plan import Cell
from harness.runs.metrics import read_metrics
from harness.runs.paths import CellPaths

from .judge_server import JudgeServer

VARIABLE = "TEST_JUDGE_KEY"


def judge_spec(server: JudgeServer, **fields: Any) -> JudgeSpec:
    given = {"base_url": server.base_url, "model": "j", "api_key_env": VARIABLE, "retries": 2}
    return JudgeSpec.model_validate(given | {"max_invalid_share": 0.5} | fields)


def cell(
    folder: Path, benchmarks: Path, judge: JudgeSpec, name: str = "arena-hard", n: int | None = 6
) -> CellWork:
    """A cell whose answers are there: of the n-th item n characters, unless changed."""
    work = CellWork(
        cell=Cell(checkpoint="checkpoint-5", benchmark=name),
        paths=CellPaths(folder / "cell"),
        evaluation=EvaluationSpec(benchmarks=(name,), max_items=n, judge=judge),
        benchmarks_dir=benchmarks,
        fingerprint="abc",
        log="log",
        job_id="7",
        judge=Judge(judge),
    )
    answer(work, [row(item, "x" * (k + 1)) for k, item in enumerate(work.items())])
    return work


def answer(work: CellWork, rows: list[dict[str, Any]]) -> None:
    """Put answers where generation leaves them."""
    work.paths.root.mkdir(parents=True, exist_ok=True)
    work.paths.partial().write_text("".join(json.dumps(row) + "\n" for row in rows))


def answered(work: CellWork) -> list[dict[str, Any]]:
    return [json.loads(line) for line in work.paths.partial().read_text().splitlines()]


def judge_cell(work: CellWork) -> str:
    if not work.paths.partial().is_file():
        reopen(work.paths, work.cell.repeats)
    work.generate(None)  # no server of the candidate's is needed
    return work.grade()


def row(item: dict[str, Any], text: str) -> dict[str, Any]:
    answers = {"generations": [text, text + text]} if "turns" in item else {}
    return {"id": item["id"], "generation": text, "num_generated_tokens": 7, **answers}


def run(work: CellWork) -> dict[str, Any]:
    assert judge_cell(work) == "ok"
    return read_metrics(work.paths.metrics)[work.cell.benchmark]["pass@1"]


def kept(work: CellWork) -> list[dict[str, Any]]:
    file = work.paths.judgements
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
