"""What keeps checkpoints from being compared is named once, and unknown is not different."""

from __future__ import annotations

from typing import Any

from harness.results.compare import different_items, not_everywhere
from harness.results.table import Problem, Row


def row(checkpoint: str, sizes: dict[str, Any], run: str = "r") -> Row:
    return Row.of(
        run, checkpoint, 1, {n: {"pass@1": {"num_entries": s, "x": 1}} for n, s in sizes.items()}
    )


def test_a_benchmark_that_only_others_have_is_missing_with_its_subsets_and_named_once() -> None:
    rows = [
        row("a", {"mmlu": 2, "mmlu-anatomy": 1, "gsm8k": 1}),
        row("b", {}),
        row("b", {"gsm8k": 1}, "s"),
    ]
    known = [Problem("b", "gsm8k", "failed", "why", run="r")]
    found = [(p.run, p.checkpoint, p.benchmark, p.state) for p in not_everywhere(rows, known)]
    assert found == [("r", "b", "mmlu", "missing"), ("s", "b", "mmlu", "missing")]
    assert not_everywhere([], []) == []


def test_numbers_of_items_differ_only_where_they_are_known() -> None:
    rows = [row("a", {"gsm8k": 10, "mmlu": 4, "mmlu-x": 2}), row("b", {"gsm8k": None, "mmlu": 3, "mmlu-x": 1}),
            row("c", {"gsm8k": 10})]  # fmt: skip
    assert [(p.benchmark, p.reason) for p in different_items(rows)] == [
        ("mmlu", "num_entries differ: 3, 4")
    ]
