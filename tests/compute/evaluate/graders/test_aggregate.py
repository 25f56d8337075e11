"""Aggregation as in NeMo-Skills (0b012df); the expected numbers of the random case are its own."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from harness.compute.evaluate.graders.aggregate import aggregate, benchmark_metrics
from harness.errors import ResultError
from tests.support import shared_data


def _math(
    answer: str | None, tokens: int = 10, start: float = 0.0, end: float = 1.9
) -> dict[str, Any]:
    return {
        "predicted_answer": answer,
        "symbolic_correct": answer == "1",
        "num_generated_tokens": tokens,
        "generation_start_time": start,
        "generation_end_time": end,
    }


def test_one_sample_gives_pass_at_1_unrounded_and_cut_integers() -> None:
    rows = [_math("1", 10, 5.0, 6.0), _math("2", 11, 4.5, 8.2), _math(None, 12, 5.0, 6.0)]
    assert aggregate("math", [{}] * 3, [rows]) == {
        "pass@1": {
            "num_entries": 3,
            "avg_tokens": 11,
            "gen_seconds": 3,
            "symbolic_correct": 100.0 / 3,
            "no_answer": 100.0 / 3,
        }
    }


def test_two_samples_give_pass_at_k_averages_majority_and_statistics() -> None:
    samples = [[_math("1"), _math(None)], [_math("2"), _math("1")]]
    metrics = aggregate("math", [{}] * 2, samples)
    assert list(metrics) == ["pass@1", "pass@2", "pass@1[avg-of-2]", "majority@2"]
    # c/n over all samples, but no_answer of pass@1 looks at the first file only.
    assert metrics["pass@1"]["symbolic_correct"] == 50.0
    assert metrics["pass@1"]["no_answer"] == 50.0
    assert metrics["pass@2"]["symbolic_correct"] == 100.0
    assert metrics["pass@2"]["no_answer"] == 0.0
    assert metrics["pass@1[avg-of-2]"]["symbolic_correct"] == 50.0
    assert metrics["pass@1[avg-of-2]"]["no_answer"] == 25.0
    # Item 1 ties between right and wrong; item 2's None is left out.
    assert metrics["majority@2"]["symbolic_correct"] == 75.0
    statistics = metrics["pass@1[avg-of-2]"]["symbolic_correct_statistics"]
    assert statistics == {
        "avg": 0.5,
        "std_dev_across_runs": 0.0,
        "avg_sample_std_dev": pytest.approx(math.sqrt(0.5)),
        "std_err_across_runs": 0.0,
    }


def test_code_counts_base_and_plus() -> None:
    rows = [
        {"is_correct": True, "is_correct-plus": True},
        {"is_correct": True, "is_correct-plus": False},
    ]
    assert aggregate("code:mbpp", [{}] * 2, [rows])["pass@1"] == {
        "num_entries": 2,
        "passing_base_tests": 100.0,
        "passing_plus_tests": 50.0,
    }


def test_ifeval_counts_prompts_and_instructions() -> None:
    def verdict(*followed: bool) -> dict[str, Any]:
        return {"follow_all_instructions": all(followed), "follow_instruction_list": list(followed)}

    items = [{"instruction_id_list": ["a", "b", "c"]}, {"instruction_id_list": ["a"]}]
    rows = [
        {"strict_eval": verdict(True, False, True), "loose_eval": verdict(True, True, True)},
        {"strict_eval": verdict(True), "loose_eval": verdict(True)},
    ]
    assert aggregate("ifeval", items, [rows])["pass@1"] == {
        "num_prompts": 2,
        "num_instructions": 4,
        "average_score": (50 + 75 + 100 + 100) / 4,
        "prompt_strict_accuracy": 50.0,
        "instruction_strict_accuracy": 75.0,
        "prompt_loose_accuracy": 100.0,
        "instruction_loose_accuracy": 100.0,
        "num_entries": 2,
    }


def test_subsets_are_entries_of_their_own_and_may_contain_a_blank() -> None:
    items = [{"subset_for_metrics": "math"}, {"subset_for_metrics": "computer science"}]
    metrics = benchmark_metrics("mmlu", "multiple_choice", items, [[_math("1"), _math("2")]])
    assert list(metrics) == ["mmlu", "mmlu-math", "mmlu-computer science"]
    assert metrics["mmlu"]["pass@1"]["symbolic_correct"] == 50.0
    assert metrics["mmlu-math"]["pass@1"]["symbolic_correct"] == 100.0
    assert metrics["mmlu-computer science"]["pass@1"]["num_entries"] == 1


def test_an_incomplete_sample_is_an_error() -> None:
    with pytest.raises(ResultError, match="1 graded rows for 2 items"):
        aggregate("math", [{}] * 2, [[_math("1")] * 2, [_math("1")]])
    with pytest.raises(ResultError):
        aggregate("math", [], [])
    with pytest.raises(ResultError, match="chess"):
        aggregate("chess", [{}], [[_math("1")]])


@pytest.mark.parametrize(
    ("checkpoint", "benchmark", "kind", "samples"),
    [
        ("checkpoint-500", "gsm8k", "math", 1),
        ("checkpoint-1500", "gsm8k", "math", 2),
        ("checkpoint-500", "mmlu", "multiple_choice", 1),
        ("checkpoint-500", "human-eval", "code:human-eval", 1),
        ("checkpoint-500", "ifeval", "ifeval", 1),
    ],
)
def test_the_keys_and_their_order_are_those_of_real_nemo_skills_files(
    checkpoint: str, benchmark: str, kind: str, samples: int
) -> None:
    data = shared_data()
    if data is None:
        pytest.skip("the shared benchmark data is not on this machine")
    folder = data / "nemo_skills_eval_tree" / checkpoint / "eval-results" / benchmark
    names = ["output.jsonl"] if samples == 1 else [f"output-rs{k}.jsonl" for k in range(samples)]
    rows = [[json.loads(line) for line in (folder / name).open()] for name in names]
    # The tree's rows are cut to five: keys can be compared, values cannot.
    for sample in rows:
        for row in sample:
            row.setdefault("subset_for_metrics", "none") if benchmark == "mmlu" else None
    real = json.loads((folder / "metrics.json").read_text())[benchmark]
    ours = aggregate(kind, rows[0], rows)
    assert {name: list(values) for name, values in ours.items()} == {
        name: list(values) for name, values in real.items()
    }
    assert {type(v) for m in ours.values() for v in m.values()} == {
        type(v) for m in real.values() for v in m.values()
    }
