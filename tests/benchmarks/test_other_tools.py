"""Results files of lm-eval and lighteval in our schema: shares as percentages, counts, odd values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.other_tools import (
    lighteval_results,
    lm_eval_results,
    read_tool_results,
    tool_of,
)
from harness.errors import ResultError

REAL = Path(__file__).parents[1] / "captured" / "lm_eval_0.4.13.json"
"""Of a run of lm-eval 0.4.13 with its model `dummy`; two tasks in a group, one with two filters."""


def lm(results: dict[str, Any], **more: Any) -> Any:
    return lm_eval_results({"results": results, "versions": {}, **more})


def test_a_real_file_gives_every_task_and_group_with_its_items() -> None:
    found = read_tool_results(REAL)
    assert (found.tool, found.model) == ("lm-eval", "/data/run1/checkpoint-500")
    assert (found.odd, found.cut) == ([], [])
    assert found.metrics["lm-eval.choice_1"] == {
        "pass@1": {
            "num_entries": 4, "acc": 50.0, "acc_stderr": pytest.approx(28.867513),
            "acc_norm": 50.0, "acc_norm_stderr": pytest.approx(28.867513),
        }
    }  # fmt: skip
    assert list(found.metrics["lm-eval.sums"]) == [
        "pass@1[strict-match]",
        "pass@1[flexible-extract]",
    ]
    assert found.metrics["lm-eval.choices"]["pass@1"]["num_entries"] == 8
    assert "lm-eval.all_of_it" not in found.metrics, "a group without a metric of its own"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"acc,none": 0.5, "acc_stderr,none": 0.1}, {"acc": 50.0, "acc_stderr": 10.0}),
        ({"acc,none": 1, "acc_stderr,none": "N/A"}, {"acc": 100}),
        ({"mcc,none": -0.5}, {"mcc": -50.0}),
        ({"em": 0.25, "em_stderr": None}, {"em": 25.0}),  # lm-eval 0.3, without filters
        ({"acc,none": 41.5, "f1,none": 0.5}, {"acc": 41.5, "f1": 0.5}),  # percentages already
        ({"bleu,none": 31.0, "word_perplexity,none": 0.9}, {"bleu": 31.0, "word_perplexity": 0.9}),
        ({"rougeL_acc,none": 0.5, "pass@1,none": 0.5}, {"rougeL_acc": 50.0, "pass@1": 50.0}),
        ({"bypass,none": 999}, {"bypass": 999}),
        ({"acc,none": True, "x,none": {"a": 0.5}}, {"acc": True, "x": {"a": 0.5}}),
        ({"sample_len": 9, "alias": " - t", " ": " ", "acc,none": 0.0}, {"num_entries": 9, "acc": 0.0}),
    ],
)  # fmt: skip
def test_shares_become_percentages_and_other_scores_stay(
    values: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = lm({"t": values})
    assert found.metrics == {"lm-eval.t": {"pass@1": expected}}
    assert found.odd == []


def test_a_value_that_is_none_is_named_and_its_neighbours_stay() -> None:
    nan = float("nan")
    found = lm({"t": {"acc,none": 0.5, "acc_stderr,none": nan, "f1,none": [0.5, nan]},
                "u": {"acc,none": 0.25}, "v": {"alias": "v"}, "w": 3})  # fmt: skip
    assert found.metrics["lm-eval.t"]["pass@1"] == {
        "acc": 50.0,
        "acc_stderr": None,
        "f1": [0.5, None],
    }
    assert found.metrics["lm-eval.u"]["pass@1"] == {"acc": 25.0}
    assert found.odd == [
        "t/acc_stderr,none: nan is not a finite number", "t/f1,none: nan is not a finite number",
        "v: no metric of its own", "w: {metric: value} is expected", "w: no metric of its own",
    ]  # fmt: skip
    twice = lm({"t": {"acc,none": 0.5, "acc": 0.25}})
    assert twice.odd == ["t/acc: is there twice; the last counts"]


def test_items_are_known_by_task_and_of_a_group_only_where_all_are_known() -> None:
    counts = {"a": {"original": 10, "effective": 7}, "b": {"original": 5, "effective": 5}}
    groups = {"g": ["a", "b"], "h": ["g", "c"], "loop": ["loop"]}
    values = {"acc,none": 0.5}
    results = dict.fromkeys(("a", "b", "c", "g", "h", "loop"), values)
    found = lm(results, **{"n-samples": counts, "group_subtasks": groups})
    entries = {n: m["pass@1"].get("num_entries") for n, m in found.metrics.items()}
    assert entries == {
        "lm-eval.a": 7, "lm-eval.b": 5, "lm-eval.c": None, "lm-eval.g": 12, "lm-eval.h": None,
        "lm-eval.loop": None,
    }  # fmt: skip
    assert found.cut == ["a: 7 of 10 items"]


def test_lighteval_keeps_the_shots_of_a_task_and_drops_an_average_of_one() -> None:
    general = {"config_general": {"model_name": "org/m"}, "versions": {}}
    one = {"lighteval|gsm8k|5": {"extractive_match": 0.4, "extractive_match_stderr": 0.01},
           "all": {"extractive_match": 0.4}}  # fmt: skip
    docs = {"lighteval|gsm8k|5": {"effective_num_docs": 20, "original_num_docs": 1319}}
    found = lighteval_results({**general, "results": one, "config_tasks": docs})
    assert (found.tool, found.model, found.cut) == (
        "lighteval", "org/m", ["lighteval|gsm8k|5: 20 of 1,319 items"],
    )  # fmt: skip
    assert found.metrics == {"lighteval.gsm8k|5": {"pass@1": {
        "num_entries": 20, "extractive_match": 40.0, "extractive_match_stderr": 1.0}}}  # fmt: skip
    more = {"mmlu:anatomy|0": {"acc": 0.5}, "mmlu:_average|0": {"acc": 0.5},
            "leaderboard|gsm8k|5": {"qem": 0.5, "pass@k:k=1&n=4": 0.5}, "all": {"acc": 0.5}}  # fmt: skip
    found = lighteval_results({**general, "results": more, "config_tasks": {"mmlu:anatomy|0": "?"}})
    assert {n: m["pass@1"] for n, m in found.metrics.items()} == {
        "lighteval.mmlu:anatomy|0": {"acc": 50.0}, "lighteval.mmlu:_average|0": {"acc": 50.0},
        "lighteval.leaderboard|gsm8k|5": {"qem": 50.0, "pass@k:k=1&n=4": 50.0},
        "lighteval.all": {"acc": 50.0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "tool"),
    [
        ({"results": {}, "n-samples": {}}, "lm-eval"),
        ({"results": {}, "config": {}}, "lm-eval"),
        ({"results": {}, "config_general": {}, "versions": {}}, "lighteval"),
        ({"results": {}}, ""), ({"results": [1], "versions": {}}, ""), ({}, ""), ([], ""), (None, ""),
        ({"gsm8k": {"pass@1": {"x": 1}}}, ""),
    ],
)  # fmt: skip
def test_whose_a_file_is(data: Any, tool: str) -> None:
    assert tool_of(data) == tool


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "cannot be read as JSON"), ("[" * 100_000, "cannot be read as JSON"), ("[]", "neither"),
        (json.dumps({"results": {"t": {"alias": "t"}}, "versions": {}}), "no metric in it"),
        (json.dumps({"accuracy": 1}), "neither lm-eval's nor lighteval's results"),
    ],
    ids=["torn", "deep", "list", "empty", "other"],
)  # fmt: skip
def test_a_file_with_nothing_to_read_is_an_error_with_its_name(
    tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "results_1.json"
    path.write_text(text)
    with pytest.raises(ResultError, match=why) as caught:
        read_tool_results(path)
    assert str(caught.value).startswith(f"{path}: ")
