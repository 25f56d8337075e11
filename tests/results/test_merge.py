"""What several files say of one checkpoint: who is believed, what does not count, and why."""

from __future__ import annotations

from typing import Any

import pytest

from harness.results.merge import Merged, merge
from harness.results.sources import ALL, COMBINED, OWN, TOOL, Found, Place
from tests.results.trees import metrics

PLACE = Place(("/", "r", "step_5"))


def own(score: float, name: str = "gsm8k", **fields: Any) -> Found:
    return Found(PLACE, name, f"/{name}/metrics.json", OWN, metrics(score, name=name), **fields)


def combined(*scores: tuple[str, float]) -> Found:
    values = {name: metrics(score, name=name)[name] for name, score in scores}
    return Found(PLACE, ALL, "/metrics.json", COMBINED, values)


def tool(name: str, date: str, *tasks: tuple[str, float]) -> Found:
    values = {f"lm-eval.{t}": {"pass@1": {"acc": score}} for t, score in tasks}
    return Found(PLACE, ALL, name, TOOL, values, date=date)


def scores(merged: Merged) -> dict[str, Any]:
    return {n: next(iter(reversed(v["pass@1"].values()))) for n, v in merged.metrics.items()}


def troubles(merged: Merged) -> list[tuple[str, str]]:
    return [(t.benchmark, t.state) for t in merged.troubles]


def test_a_benchmarks_own_file_counts_and_the_one_for_all_fills_in() -> None:
    for order in (1, -1):
        files = [own(1.0), combined(("gsm8k", 1.0), ("mmlu", 2.0))][::order]
        merged = merge(files)
        assert (scores(merged), troubles(merged)) == ({"gsm8k": 1.0, "mmlu": 2.0}, [])
    merged = merge([combined(("gsm8k", 2.0)), own(1.0)])
    assert (scores(merged), troubles(merged)) == ({"gsm8k": 1.0}, [("gsm8k", "stale")])
    assert merged.troubles[0].reason == (
        "its own metrics.json differs from /metrics.json; its own is taken"
    )


@pytest.mark.parametrize("state", ["invalid", "failed", "running", "missing"])
def test_numbers_that_do_not_count_come_from_no_other_file_either(state: str) -> None:
    bad = own(1.0, state=state, reason="why", log="/log")
    merged = merge([combined(("gsm8k", 1.0), ("mmlu", 2.0)), bad])
    assert scores(merged) == {"mmlu": 2.0}
    (trouble,) = merged.troubles
    assert vars(trouble) == {"benchmark": "gsm8k", "state": state, "reason": "why", "log": "/log"}
    assert merge([bad]).is_row


def test_of_results_files_of_one_folder_the_newest_is_taken_and_that_is_noted() -> None:
    old = tool("/m/results_1.json", "2026-01-01", ("a", 1.0), ("b", 2.0), ("c", 3.0))
    new = tool("/m/results_2.json", "2026-01-02", ("a", 1.0), ("b", 5.0))
    for files in ([old, new], [new, old]):
        merged = merge(files)
        assert scores(merged) == {"lm-eval.a": 1.0, "lm-eval.b": 5.0, "lm-eval.c": 3.0}
        assert troubles(merged) == []
        assert merged.notes == [
            "lm-eval.b: results_2.json is taken, and not the older results_1.json, which differs"
        ]
    elsewhere = merge([new, tool("/other/results_1.json", "2026-01-01", ("b", 2.0))])
    assert troubles(elsewhere) == [("lm-eval.b", "stale")]


def test_a_benchmark_without_a_metric_and_a_value_that_is_none_are_named() -> None:
    empty = Found(
        PLACE, ALL, "/m.json", COMBINED, {"gsm8k": {}, "mmlu": {"pass@1": {}}, "x": {"p": {"y": 1}}}
    )
    assert troubles(merge([empty])) == [("gsm8k", "invalid"), ("mmlu", "invalid")]
    odd = [
        ["gsm8k/pass@1/x: nan is not a finite number", "gsm8k"],
        ["t/acc,none: nan is not a finite number", "lm-eval.t"],
        ["mmlu:anatomy|5/acc: nan is not a finite number", "lighteval.mmlu:anatomy|5"],
        ["loss: {aggregation: {metric: value}} is expected", "loss"],
    ]
    values = {n: {"p": {"y": 1}} for n in ("gsm8k", "lm-eval.t", "lighteval.mmlu:anatomy|5")}
    merged = merge([Found(PLACE, ALL, "/m.json", COMBINED, values, odd=[text for text, _ in odd])])
    assert [t.benchmark for t in merged.troubles] == [name for _, name in odd]
    assert [t.reason for t in merged.troubles] == [f"/m.json: {text}" for text, _ in odd]


def test_answers_alone_are_named_unless_another_file_has_their_metrics() -> None:
    alone = Found(PLACE, "gsm8k", "", state="missing", reason="output.jsonl and no metrics.json")
    assert troubles(merge([alone, own(1.0)])) == []
    assert troubles(merge([alone, own(1.0, state="failed")])) == [("gsm8k", "failed")]
    merged = merge([alone])
    assert (troubles(merged), merged.is_row) == ([("gsm8k", "missing")], False)


def test_two_values_of_one_name_are_named_and_the_row_has_the_first() -> None:
    values = {"a": {"p": {"m": {"k": 1}, "m/k": 2, "ci": [3, 4], "ci_low": 5}}}
    merged = merge([Found(PLACE, ALL, "/m.json", COMBINED, values)])
    row, problems, notes = merged.table_row("r", "step_5", 5)
    assert row.values == {"a/p/m/k": 1, "a/p/ci_low": 3, "a/p/ci_high": 4}
    assert [p.reason for p in problems] == [
        f"p/{name}: two values have this name; the first is taken" for name in ("m/k", "ci_low")
    ]
    assert {(p.run, p.checkpoint, p.benchmark, p.state) for p in problems} == {
        ("r", "step_5", "a", "invalid")
    }
    assert notes == []
