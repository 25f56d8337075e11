"""Validity gates: what must hold before a result counts. A hit names its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.benchmarks.registry import Benchmark

MAX_ERROR_SHARE = 0.01
WARN_TRUNCATED_SHARE = 0.2
Rows = Sequence[Mapping[str, Any]]


def invalid_reason(rows: Rows, expected: int) -> str:
    """Why the answers of one repeat cannot be a result; empty when they can."""
    if len(rows) != expected:
        return f"{len(rows)} answers for {expected} items"
    errors = [row["error"] for row in rows if "error" in row]
    if len(errors) > MAX_ERROR_SHARE * expected:
        return f"{len(errors)} of {expected} requests failed, e.g. {errors[0]}"
    answers = {(row.get("generation", ""), row.get("reasoning_content", "")) for row in rows}
    if answers == {("", "")}:
        return "every answer is empty"
    if len(answers) == 1 and expected > 2:
        return "every answer is the same text"
    return ""


def warnings(
    benchmark: Benchmark, rows: Rows, metrics: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """What a reader of the number should know."""
    found = []
    truncated = sum(row.get("finish_reason") == "length" for row in rows)
    if truncated > WARN_TRUNCATED_SHARE * len(rows):
        found.append(f"{truncated} of {len(rows)} answers were cut at max_tokens")
    if metrics.get("pass@1", {}).get(benchmark.headline) == 0:
        found.append(f"{benchmark.headline} is exactly 0")
    return found
