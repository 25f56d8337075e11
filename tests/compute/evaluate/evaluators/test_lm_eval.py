"""Tasks of the real lm-eval, through a server that speaks the chat completions protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.compute.evaluate.evaluators import lm_eval
from harness.config.backends import LmEvalSpec
from harness.config.evaluation import EvaluationSpec, Sampling
from harness.errors import EvaluationError
from tests.compute.evaluate.chat_server import chat_server

from .others import lm_eval_tasks

pytest.importorskip("lm_eval", reason="needs the extra `eval`")
pytest.importorskip("tenacity", reason="needs the extra `eval` (lm-eval[api])")


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task of our own on four items, without any network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return lm_eval_tasks(tmp_path)


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_task_is_asked_graded_and_mapped_to_the_schema(tasks: Path, tmp_path: Path) -> None:
    evaluation = EvaluationSpec(
        benchmarks=("lm-eval.sums",),
        sampling=Sampling(temperature=0.5, max_tokens=33),
        lm_eval=LmEvalSpec(include_path=str(tasks)),
    )
    with chat_server(lambda q: f"It is {int(q.split()[0]) + 1 if q[0] != '3' else 0}") as server:
        found = lm_eval.evaluate("sums", tmp_path / "out", server, evaluation, "unused")  # type: ignore[arg-type]
    values = found.metrics["lm-eval.sums"]["pass@1[number]"]
    assert (values["exact_match"], values["num_entries"]) == (75.0, 4)
    assert values["exact_match_stderr"] == pytest.approx(25.0)
    assert sorted(row["generation"] for row in found.samples[0]) == [
        "It is 0",
        "It is 1",
        "It is 2",
        "It is 3",
    ]
    assert {(b["temperature"], b["max_tokens"], b["model"]) for b in server.asked} == {
        (0.5, 33, server.model)
    }
    assert found.facts["versions"]["lm-eval"]
    written = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert written
    assert not any(server.api_key in p.read_text() for p in written)


@pytest.mark.long
@pytest.mark.timeout(240)
def test_an_unknown_task_fails_with_its_own_words(tasks: Path, tmp_path: Path) -> None:
    evaluation = EvaluationSpec(
        benchmarks=("lm-eval.summs",), lm_eval=LmEvalSpec(include_path=str(tasks))
    )
    with (
        chat_server(lambda q: "") as server,
        pytest.raises(EvaluationError, match=r"(?s)exit code 1.*summs"),
    ):
        lm_eval.evaluate("summs", tmp_path / "out", server, evaluation, "unused")  # type: ignore[arg-type]
    assert server.asked == []


def results(folder: Path, **changes: Any) -> Path:
    data = {
        "results": {"t": {"alias": "t", "acc,none": 0.5, "acc_stderr,none": "N/A", "bleu,none": 31.0}},
        "n-samples": {"t": {"original": 10, "effective": 10}},
    }  # fmt: skip
    path = folder / "results_2026.json"
    path.write_text(json.dumps(data | changes))
    return path


def test_shares_become_percentages_and_other_scores_stay(tmp_path: Path) -> None:
    metrics, items = lm_eval.read_results(results(tmp_path), "t", None)
    assert metrics == {"lm-eval.t": {"pass@1": {"num_entries": 10, "acc": 50.0, "bleu": 31.0}}}
    assert items == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n-samples": {"t": {"original": 10, "effective": 9}}}, "9 answers for 10 items"),
        ({"results": {"other": {}}}, "no t in it; it has other"),
        ({"results": {"t": {"acc,none": float("nan")}}}, "t/acc,none: nan is not a finite number"),
        ({"results": {"t": {"alias": "t"}}}, "no metric of its own"),
        ({"n-samples": None}, "no lm-eval results|NoneType"),
    ],
)
def test_results_that_do_not_add_up_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        lm_eval.read_results(results(tmp_path, **changes), "t", None)


def test_no_results_are_no_success(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="left no results"):
        lm_eval.results_file(tmp_path)


def test_tasks_that_score_choices_go_to_the_completions_api() -> None:
    argv = lm_eval.run_command(
        "arc_easy", Path("/out"), python="python", model="m", tokenizer="/model",
        base_url="http://127.0.0.1:1/v1", concurrency=2, sampling=Sampling(), max_items=7,
        timeout_s=60, options=LmEvalSpec(api="completions", num_fewshot=5),
    )  # fmt: skip
    assert "local-completions" in argv
    assert "base_url=http://127.0.0.1:1/v1/completions" in argv
    assert "tokenizer=/model" in argv
    assert argv[argv.index("--limit") + 1] == "7"
    assert argv[argv.index("--num_fewshot") + 1] == "5"
