"""A judge of our own: served by a real `transformers serve` when it is needed, then stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harness.benchmarks.prepare import prepare
from harness.compute.evaluate.task import judge_for
from harness.config.site import Site
from harness.config.spec import Spec
from harness.plan.facts import RunFacts
from harness.plan.plan import Cell
from harness.runs.metrics import read_task
from harness.runs.paths import RunPaths
from tests.compute.evaluate.judge.judged_cell import cell, judge_cell
from tests.support import shared_data
from tests.tiny_model import make_tiny_model

pytestmark = pytest.mark.long

pytest.importorskip("aiohttp", reason="needs the extra `eval`")
pytest.importorskip("fastapi", reason="needs the extra `serve`")
DATA = shared_data()


@pytest.mark.skipif(DATA is None, reason="the shared benchmark data is not beside the repository")
def test_a_served_judge_runs_only_while_it_is_asked(tmp_path: Path) -> None:
    prepare("arena-hard", tmp_path / "benchmarks", DATA)
    make_tiny_model(
        tmp_path / "tiny", chat_template=Path("templates/chat/chatml.jinja").read_text()
    )
    spec = Spec.model_validate({
        "name": "r",
        "train": {"model_name": "m", "dataset_name": "d", "max_steps": 1, "use_cpu": True},
        "evaluation": {
            "benchmarks": ["arena-hard"],
            "judge": {
                "serve": {
                    "model": str(tmp_path / "tiny"),
                    "server": {"engine": "transformers", "gpus": 0, "dtype": "float32",
                               "flags": {"device": "cpu"}},
                },
                "max_tokens": 16, "max_invalid_share": 1,
            },
        },
    })  # fmt: skip
    assert spec.evaluation and spec.evaluation.judge
    run = RunPaths(tmp_path / "runs" / "r" / "id")
    facts = RunFacts(run)
    facts.spec, facts.site = spec, Site()
    judge = judge_for(facts, (Cell(checkpoint="base", benchmark="arena-hard"),))
    assert judge is not None
    work = cell(tmp_path, tmp_path / "benchmarks", spec.evaluation.judge, n=3)
    work = replace(work, judge=judge)
    children = psutil.Process().children(recursive=True)
    with judge:
        assert psutil.Process().children(recursive=True) == children  # nobody has asked yet
        assert judge_cell(work) == "invalid"  # its words have no verdict
        assert len(psutil.Process().children(recursive=True)) > len(children)
    assert len(psutil.Process().children(recursive=True)) == len(children)
    record = read_task(work.paths)
    assert record and record.facts["judge"]["model"].startswith("tiny@")
    assert record.facts["judge_usage"]["calls"] == record.facts["judge_usage"]["invalid"] == 6
    assert len(work.paths.judgements.read_text().splitlines()) == 6
    assert run.cell("base", "arena-hard").judge_log.is_file()
    work = cell(tmp_path, tmp_path / "benchmarks", spec.evaluation.judge, n=3)
    work = replace(work, judge=judge)
    with judge:  # all is there: the server is not started again
        assert judge_cell(work) == "invalid"
        assert len(psutil.Process().children(recursive=True)) == len(children)
