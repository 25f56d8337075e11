"""A task's cells: which folder is evaluated, what is asked of whom, and the joint metrics."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from harness.compute.evaluate.task import (
    candidate_request,
    cell_works,
    combine_metrics,
    evaluated_folder,
    judge_for,
    request_body,
)
from harness.config.evaluation import EvaluationSpec
from harness.errors import EvaluationError
from harness.plan.facts import RunFacts
from harness.plan.plan import Cell
from harness.runs.checkpoints import fingerprint
from harness.runs.files import read_json, write_json
from harness.runs.paths import RunPaths

from .run_folder import checkpoint, model, run_folder

BOTH = {"benchmarks": ["arithmetic", "mt-bench"], "base_model": True}
TEMPLATE = "{{ messages }} ü\n"


@pytest.fixture
def run(tmp_path: Path) -> RunFacts:
    """Of a model in a folder, trained with a template of its own."""
    template = tmp_path / "template.jinja"
    template.write_text(TEMPLATE, encoding="utf-8")
    train = {"model_name": str(tmp_path / "the model"), "chat_template_path": str(template)}
    judge = {"model": "j", "base_url": "http://127.0.0.1:9/v1", "api_key_env": None}
    return run_folder(tmp_path, {**BOTH, "judge": judge}, train=train)


def cells(facts: RunFacts, name: str) -> list[Cell]:
    return facts.plan.cells_of(name)


def test_only_a_checkpoint_that_training_completed_is_evaluated(run: RunFacts) -> None:
    model(run.run.checkpoints / "checkpoint-2")  # whole files, and no marker
    assert evaluated_folder(run, "checkpoint-2") is None
    folder = checkpoint(run.run, 4)
    assert evaluated_folder(run, "checkpoint-4") == folder
    assert evaluated_folder(run, "checkpoint-6") is None


def test_the_base_model_is_its_folder_and_elsewhere_lie_the_checkpoints(tmp_path: Path) -> None:
    base = model(tmp_path / "the model")
    train = {"model_name": str(base), "output_dir": str(tmp_path / "elsewhere")}
    facts = run_folder(tmp_path, BOTH, train=train)
    assert evaluated_folder(facts, "base") == base
    assert evaluated_folder(facts, "checkpoint-2") is None
    folder = checkpoint(RunPaths(tmp_path / "x"), 2)
    folder.parent.rename(tmp_path / "elsewhere")
    fresh = RunFacts(facts.run)
    assert evaluated_folder(fresh, "checkpoint-2") == tmp_path / "elsewhere" / "checkpoint-2"


@pytest.mark.parametrize("name", ["checkpoint-500", "global_step_500", "iter_0000500"])
def test_what_eval_was_given_is_the_folder_itself_whoever_trained_it(
    tmp_path: Path, name: str
) -> None:
    given = tmp_path / "given.jinja"
    given.write_text("other", encoding="utf-8")
    folder = model(tmp_path / "of others" / name, chat_template="its own")
    facts = run_folder(
        tmp_path, {"benchmarks": ["arithmetic"]}, model=str(folder), checkpoint=name,
        chat_template=str(given),
    )  # fmt: skip
    (planned,) = facts.plan.checkpoints
    assert (planned.name, planned.step) == (name, 500)
    assert evaluated_folder(facts, name) == folder
    (cell,) = cells(facts, name)
    (work,) = cell_works(facts, [cell], "log", folder)
    assert work.template_sha256 == hashlib.sha256(b"other").hexdigest()
    assert candidate_request(facts, cell, folder, folder).chat_template == str(given)


def test_each_cell_knows_its_model_its_template_and_only_the_judged_one_its_judge(
    run: RunFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    folder = checkpoint(run.run, 2, chat_template=TEMPLATE)
    asked = cells(run, "checkpoint-2")
    plain, judged = cell_works(run, asked, "log", folder, judge_for(run, asked))
    assert (plain.cell.benchmark, judged.cell.benchmark) == ("arithmetic", "mt-bench")
    assert (plain.judge, plain.judged_apart) == (None, False)
    assert (judged.judge is not None, judged.judged_apart) == (True, True)
    for work in (plain, judged):
        assert (work.model, work.fingerprint) == (folder, fingerprint(folder))
        assert work.template == TEMPLATE
        assert work.template_sha256 == hashlib.sha256(TEMPLATE.encode()).hexdigest()
        assert (work.log, work.job_id) == ("log", "77")
        assert work.benchmarks_dir == tmp_path / "data"
        assert work.paths.root == run.run.eval / "checkpoint-2" / work.cell.benchmark


def test_a_base_model_is_served_with_the_trained_template_and_a_checkpoint_with_its_own(
    run: RunFacts, tmp_path: Path
) -> None:
    given = hashlib.sha256(TEMPLATE.encode()).hexdigest()
    base = model(tmp_path / "the model", chat_template="other")
    (work, *_) = cell_works(run, cells(run, "base"), "log", base)
    assert work.template_sha256 == given
    folder = checkpoint(run.run, 2, chat_template="other")
    (work, *_) = cell_works(run, cells(run, "checkpoint-2"), "log", folder)
    assert work.template_sha256 == hashlib.sha256(b"other").hexdigest()
    requests = {
        name: candidate_request(run, cells(run, name)[0], where, where)
        for name, where in (("base", base), ("checkpoint-2", folder))
    }
    assert requests["base"].chat_template == str(tmp_path / "template.jinja")
    assert requests["checkpoint-2"].chat_template is None


def test_a_server_elsewhere_has_no_folder_so_nothing_of_one_is_claimed(tmp_path: Path) -> None:
    external = {"address": "http://127.0.0.1:9/v1", "model": "m"}
    facts = run_folder(tmp_path, {"benchmarks": ["arithmetic"]}, model="m", external=external)
    (work,) = cell_works(facts, cells(facts, "base"), "log", None)
    assert (work.model, work.fingerprint, work.template_sha256) == (None, "", "")
    assert work.request_body == {}
    server: Any = object()
    assert work.engine_version(server) == ""


def test_the_server_is_asked_for_the_identity_and_loads_the_folder_that_is_served(
    run: RunFacts, tmp_path: Path
) -> None:
    folder = checkpoint(run.run, 2)
    merged = model(folder / "merged-0123", config='{"max_position_embeddings": 64}')
    request = candidate_request(run, cells(run, "checkpoint-2")[0], folder, merged)
    assert request.model == str(merged)
    assert request.served_name == f"it's a run/checkpoint-2@{fingerprint(folder)}"
    assert request.log_path == run.run.cell("checkpoint-2", "arithmetic").server_log
    assert (request.probe_body["temperature"], request.probe_body["top_p"]) == (0.6, 0.95)
    assert "generation_config" in request.probe_body


def test_greedy_answers_are_probed_without_sampling(tmp_path: Path) -> None:
    facts = run_folder(tmp_path, {"benchmarks": ["arithmetic"], "sampling": {"temperature": 0}})
    folder = checkpoint(facts.run, 2)
    request = candidate_request(facts, cells(facts, "checkpoint-2")[0], folder, folder)
    assert request.probe_body == {"temperature": 0, "top_p": 0.95}


def test_sampling_goes_into_the_requests_of_the_engine_that_needs_it_there(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", generation_config='{"top_k": 7, "do_sample": false}')
    spec = {"benchmarks": ["arithmetic"], "server": {"engine": "transformers"}}
    body = request_body(EvaluationSpec.model_validate(spec), folder)
    assert json.loads(body["generation_config"]) == {"top_k": 7, "do_sample": True}
    (folder / "generation_config.json").unlink()
    body = request_body(EvaluationSpec.model_validate(spec), folder)
    assert json.loads(body["generation_config"]) == {"do_sample": True}
    assert request_body(EvaluationSpec(benchmarks=("arithmetic",)), folder) == {}


def test_where_nothing_is_judged_there_is_no_judge_and_where_it_is_one_must_be_named(
    run: RunFacts, tmp_path: Path
) -> None:
    plain, judged = cells(run, "checkpoint-2")
    assert judge_for(run, [plain]) is None
    found = judge_for(run, [plain, judged])
    assert found is not None and (found.served_as, found.serve) == ("", None)
    nobody = run_folder(tmp_path / "b", {"benchmarks": ["mt-bench"]})
    with pytest.raises(EvaluationError, match=r"needs a judge: give evaluation\.judge"):
        judge_for(nobody, cells(nobody, "checkpoint-2"))


def test_a_judge_of_our_own_is_known_by_its_weights_and_not_started_yet(tmp_path: Path) -> None:
    folder = model(tmp_path / "the judge")
    served = {"model": str(folder), "server": {"engine": "transformers", "gpus": 0}}
    facts = run_folder(tmp_path, {**BOTH, "judge": {"serve": served}})
    judge = judge_for(facts, cells(facts, "checkpoint-2"))
    assert judge is not None and judge.serve is not None
    assert judge.served_as == f"the judge@{fingerprint(folder)}"
    assert not facts.run.cell("checkpoint-2", "mt-bench").judge_log.exists()


def test_all_metrics_of_a_checkpoint_are_one_file_that_changes_only_with_them(
    tmp_path: Path,
) -> None:
    run = RunPaths(tmp_path / "run" / "id")
    target = run.checkpoint_metrics("base")
    combine_metrics(run, "base")
    assert not target.exists()  # nothing is there: no file of nothing
    for name, value in (("gsm8k", 50.0), ("ifeval", 0.0)):
        write_json(run.cell("base", name).metrics, {name: {"pass@1": {"x": value}}})
    write_json(run.cell("other", "mmlu").metrics, {"mmlu": {"pass@1": {"x": 1}}})
    combine_metrics(run, "base")
    both = {"gsm8k": {"pass@1": {"x": 50.0}}, "ifeval": {"pass@1": {"x": 0.0}}}
    assert read_json(target) == both
    made = target.stat().st_mtime_ns
    combine_metrics(run, "base")
    assert target.stat().st_mtime_ns == made
    write_json(run.cell("base", "gsm8k").metrics, {"gsm8k": {"pass@1": {"x": 51.0}}})
    combine_metrics(run, "base")
    assert read_json(target)["gsm8k"]["pass@1"]["x"] == 51.0
