"""Can the evaluations run: items on disk, a sandbox for programs that models write."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.prepare import prepare
from harness.benchmarks.registry import parse
from harness.compute.evaluate.graders.aggregate import aggregate
from harness.config.evaluation import EvaluationSpec
from harness.config.site import Site
from harness.errors import UserError
from harness.preflight.evaluation import benchmarks
from harness.preflight.evaluation.benchmarks import check_best_metric, check_evaluation, columns
from harness.preflight.findings import Finding
from tests.plan.test_plan import make_spec


def found(folder: Path, *names: str, **fields: Any) -> list[Finding]:
    evaluation = EvaluationSpec.model_validate({"benchmarks": names, **fields})
    return check_evaluation(evaluation, Site(benchmarks_dir=str(folder / "b é")))


def test_what_is_made_on_submission_needs_no_preparing(tmp_path: Path) -> None:
    assert found(tmp_path, "arithmetic", "instructions:2", "lm-eval.arc_easy") == []
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_not_prepared_is_named_in_one_command(tmp_path: Path) -> None:
    (problem,) = found(tmp_path, "gsm8k:4", "arithmetic", "ifeval")
    assert (problem.level, problem.place) == ("error", "evaluation.benchmarks")
    assert problem.message == f"not prepared in {tmp_path / 'b é'}: gsm8k, ifeval"
    assert problem.cure == "python -m harness prepare gsm8k ifeval"


def test_a_prepared_benchmark_is_found_and_half_of_it_is_not_enough(tmp_path: Path) -> None:
    folder = tmp_path / "b é"
    prepare("arithmetic", folder)
    for ending in ("jsonl", "facts.json"):
        (folder / f"arithmetic.{ending}").rename(folder / f"gsm8k.{ending}")
    assert found(tmp_path, "gsm8k") == []
    (folder / "gsm8k.facts.json").unlink()
    assert "gsm8k" in found(tmp_path, "gsm8k")[0].message


def test_an_unknown_benchmark_is_the_users_mistake_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^evaluation\.benchmarks: unknown benchmark 'gsm9k'"):
        found(tmp_path, "gsm9k")


def test_scores_of_the_first_items_only_are_noted(tmp_path: Path) -> None:
    (problem,) = found(tmp_path, "arithmetic", max_items=3)
    assert (problem.level, problem.place) == ("note", "evaluation.max_items")
    assert "only the first 3 items" in problem.message


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without bubblewrap; the file is the kernel's limit of user namespaces."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    limit = tmp_path / "max_user_namespaces"

    def path(name: Any) -> Path:
        return limit if str(name).startswith("/proc/") else Path(name)

    monkeypatch.setattr(benchmarks, "Path", path)
    return limit


def sandbox_warnings(folder: Path, *names: str, **fields: Any) -> list[Finding]:
    return [f for f in found(folder, *names, **fields) if "sandbox" in f.message]


@pytest.mark.parametrize("limit", ["0\n", "\n", None])
def test_programs_without_any_sandbox_are_a_warning_with_both_cures(
    tmp_path: Path, bare: Path, limit: str | None
) -> None:
    if limit is not None:
        bare.write_text(limit)
    (problem,) = sandbox_warnings(tmp_path, "gsm8k", "human-eval", "mbpp")
    assert (problem.level, problem.place) == ("warning", "evaluation.benchmarks")
    assert problem.message.startswith("human-eval, mbpp run model-written programs")
    assert "install bubblewrap" in problem.cure and "user.max_user_namespaces" in problem.cure
    assert sandbox_warnings(tmp_path, "human-eval", allow_unsandboxed_code=True) == []
    assert sandbox_warnings(tmp_path, "gsm8k") == []


def test_user_namespaces_or_bubblewrap_are_a_sandbox(tmp_path: Path, bare: Path) -> None:
    bare.write_text("63000\n")
    assert sandbox_warnings(tmp_path, "human-eval") == []
    bare.write_text("0\n")
    assert len(sandbox_warnings(tmp_path, "human-eval")) == 1
    program = tmp_path / "bin" / "bwrap"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert sandbox_warnings(tmp_path, "human-eval") == []


def ranked(metric: str, *names: str) -> list[Finding]:
    fields = {"keep_checkpoints": "best:2", "best_metric": metric}
    return check_best_metric(make_spec(train=fields, benchmarks=list(names)))


@pytest.mark.parametrize(
    "metric",
    ["gsm8k/pass@1/symbolic_correct", "gsm8k/pass@4/symbolic_correct", "gsm8k/majority@4/no_answer",
     "gsm8k/pass@1[avg-of-3]/symbolic_correct", "ifeval/pass@1/instruction_loose_accuracy",
     "nemo-skills.aime24/pass@8/whatever", "lm-eval.mmlu/pass@1/acc", "mt-bench/pass@1/average"],
)  # fmt: skip
def test_a_column_that_will_be_there_may_rank(metric: str) -> None:
    names = ("gsm8k:4", "ifeval", "nemo-skills.aime24:8", "lm-eval.mmlu", "mt-bench")
    assert ranked(metric, *names) == []


@pytest.mark.parametrize(
    ("metric", "nearest"),
    [
        ("gsm8k/pass@1/symbolic_corect", "gsm8k/pass@1/symbolic_correct"),
        ("gsm8k/pass1/symbolic_correct", "gsm8k/pass@1/symbolic_correct"),
        ("gsm8k/pass@5/symbolic_correct", "gsm8k/pass@4/symbolic_correct"),
        ("ifeval/pass@2/prompt_strict_accuracy", "ifeval/pass@1/prompt_strict_accuracy"),
    ],
)
def test_a_column_that_will_not_be_there_offers_the_nearest(metric: str, nearest: str) -> None:
    (problem,) = ranked(metric, "gsm8k:4", "ifeval")
    assert (problem.level, problem.place) == ("error", "train.best_metric")
    assert problem.message.startswith(f"{metric}: no column of ")
    assert repr(nearest) in problem.message
    assert problem.cure.startswith(f"Such as {metric.partition('/')[0]}/pass@1/")


def test_the_columns_are_those_that_the_metrics_have() -> None:
    graded = {"symbolic_correct": True, "predicted_answer": "1"}
    made = aggregate("math", [{}], [[graded]] * 3)
    known = {f"gsm8k/{a}/{m}" for a, values in made.items() for m in values}
    assert set(columns(parse("gsm8k:3"))) <= known
    assert {k for k in known if k.endswith(("symbolic_correct", "no_answer"))} == set(
        columns(parse("gsm8k:3"))
    )


def without(monkeypatch: pytest.MonkeyPatch, *absent: str) -> None:
    def version(name: str) -> str:
        if name in absent:
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(metadata, "version", version)


def test_what_asks_and_grades_is_missed_before_it_queues_with_the_extra_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cures(*names: str, **site: Any) -> list[tuple[str, str]]:
        evaluation = EvaluationSpec.model_validate({"benchmarks": names})
        found = check_evaluation(evaluation, Site(benchmarks_dir=str(tmp_path), **site))
        return [(f.message.split()[0], f.cure) for f in found if "not installed" in f.message]

    without(monkeypatch, "evalplus")
    assert cures("arithmetic") == []
    assert cures("arithmetic", "mbpp") == [("evalplus", "pip install 'posttrain-harness[code]'")]
    without(monkeypatch, "aiohttp", "math-verify", "evalplus")
    assert cures("mbpp", "arithmetic") == [
        ("aiohttp", "pip install 'posttrain-harness[eval]'"),
        ("evalplus", "pip install 'posttrain-harness[code]'"),
    ]
    elsewhere = {"evaluate": {"activate": ["source /envs/eval/bin/activate"]}}
    assert cures("mbpp", environments=elsewhere) == []


def test_a_body_that_another_program_does_not_send_is_told(tmp_path: Path) -> None:
    (told,) = found(tmp_path, "arithmetic", "lm-eval.arc_easy", body={"top_k": 20})
    assert (told.level, told.place) == ("warning", "evaluation.body")
    assert told.message.startswith("is not sent for lm-eval.arc_easy: ")
    assert found(tmp_path, "arithmetic", body={"top_k": 20}) == []
