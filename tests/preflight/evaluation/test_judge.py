"""Checks of the judge before anything queues: who, the key, the calls and tokens it will cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.prepare import prepare
from harness.config.spec import Spec
from harness.errors import UserError
from harness.plan.plan import build_plan
from harness.preflight.check import check, resolve_spec
from harness.preflight.findings import Finding
from tests.preflight.test_check import model, site, spec
from tests.support import shared_data

DATA = shared_data()
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        DATA is None, reason="the shared benchmark data is not beside the repository"
    ),
]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    for name in ("mt-bench", "arena-hard"):
        prepare(name, tmp_path / "bench", DATA)
    return tmp_path


def judged(folder: Path, judge: Any = None, **evaluation: Any) -> Spec:
    base = spec(folder, save_steps=1).model_dump(mode="json")
    fields: dict[str, Any] = {
        "benchmarks": ["mt-bench"],
        "judge": judge,
        "server": {"tensor_parallel": 1},
    } | evaluation
    return Spec.model_validate(base | {"evaluation": fields})


def found(spec: Spec, folder: Path, secrets: tuple[str, ...] = ("JUDGE_KEY",)) -> list[Finding]:
    checked = check(resolve_spec(spec), site(folder, secrets=secrets), "slurm")
    return [f for f in checked.findings if f.place.startswith("evaluation")]


JUDGE = {"api_key_env": "JUDGE_KEY"}


def test_a_benchmark_that_needs_a_judge_is_refused_without_one(prepared: Path) -> None:
    (finding,) = found(judged(prepared), prepared)
    assert (finding.level, finding.place) == ("error", "evaluation.judge")
    assert "mt-bench: graded by a judge" in finding.message
    assert "judge: {model: gpt-4o" in finding.cure


def test_a_judge_that_nobody_needs_says_nothing(prepared: Path) -> None:
    assert not found(judged(prepared, JUDGE, benchmarks=["arithmetic"]), prepared)


def test_a_missing_key_is_an_error_before_anything_queues(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    errors = [f for f in found(judged(prepared, JUDGE), prepared, ()) if f.level == "error"]
    assert [f.message for f in errors] == [
        "$JUDGE_KEY is not set", "the site does not let jobs see $JUDGE_KEY",
    ]  # fmt: skip
    assert errors[1].cure == "secrets: [JUDGE_KEY] in the site file"


def test_calls_are_exact_and_tokens_an_estimate_that_says_so(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "x")
    both = judged(prepared, JUDGE, benchmarks=["mt-bench", "arena-hard"], base_model=True)
    assert len(build_plan(both, site(prepared)).checkpoints) == 3
    notes = [f for f in found(both, prepared) if f.place.startswith("evaluation.judge")]
    assert {f.level for f in notes} == {"note"}
    assert "api.openai.com" in notes[0].message
    assert notes[1].message.startswith(
        "mt-bench: 480 calls (3 checkpoints x 80 items x 2) to gpt-4o; at most about 3."
    )
    assert notes[1].message.endswith(
        "M prompt tokens and 983 k answer tokens, if every answer takes its 4096 and every "
        "judgement its 2048 tokens"
    )
    assert notes[2].message.startswith(
        "arena-hard: 3000 calls (3 checkpoints x 500 items x 2) to gpt-4.1; at most about 15."
    )
    few = judged(prepared, JUDGE, max_items=3)
    assert any("12 calls (2 checkpoints x 3 items x 2)" in f.message for f in found(few, prepared))


def test_no_key_is_needed_where_the_spec_says_so(prepared: Path) -> None:
    local = {"api_key_env": None, "base_url": "http://judge:8000/v1", "model": "big"}
    assert {f.level for f in found(judged(prepared, local), prepared)} == {"note"}


def test_a_served_judge_must_be_there_and_gets_its_gpus(prepared: Path) -> None:
    served = {"serve": {"model": str(prepared / "absent"), "server": {"gpus": 8}}}
    errors = [f for f in found(judged(prepared, served), prepared) if f.level == "error"]
    assert [f.place for f in errors] == ["evaluation.judge.serve.model"]
    model(prepared / "judge")
    served["serve"]["model"] = str(prepared / "judge")
    good = judged(prepared, served, server={"gpus": 1, "tensor_parallel": 1})
    assert {f.level for f in found(good, prepared)} == {"note"}
    assert build_plan(good, site(prepared)).job("eval-checkpoint-1").gpus_per_node == 8
    other = judged(prepared, served, server={"gpus": 1}, benchmarks=["arithmetic"])
    assert build_plan(other, site(prepared)).job("eval-checkpoint-1").gpus_per_node == 1


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ({"base_url": "http://judge:8000/v1"}, "name the model"),
        ({"base_url": "judge:8000", "model": "m"}, "http://host/v1"),
        ({"base_url": "https://user:secret@judge/v1", "model": "m"}, "without a key in it"),
        ({"base_url": "https://judge/v1?key=secret", "model": "m"}, "without a key in it"),
        ({"serve": {"model": "m"}, "model": "n"}, "serve names a model of its own"),
        ({"body": {"stream": True}}, "stream is set by the harness"),
        ({"api_key": "sk-1"}, "Extra inputs are not permitted"),
        ({"api_key_env": "sk-live key"}, "is not a name of an environment variable"),
    ],
)
def test_a_wrong_judge_is_refused(tmp_path: Path, judge: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        judged(tmp_path, judge)


def test_several_answers_to_a_judged_item_are_refused(prepared: Path) -> None:
    with pytest.raises(UserError, match="one answer per item"):
        build_plan(judged(prepared, JUDGE, benchmarks=["mt-bench:4"]), site(prepared))
