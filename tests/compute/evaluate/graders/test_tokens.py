"""Entries, tokens and seconds: counted as NeMo-Skills counts them; what nobody counted is no 0."""

from __future__ import annotations

from typing import Any

import pytest

from harness.compute.evaluate.graders.tokens import (
    answer_tokens,
    common_metrics,
    reasoning_tokens,
    tokens,
)


def row(count: int | None, start: float | None = None, end: float | None = None) -> dict[str, Any]:
    times = {"generation_start_time": start, "generation_end_time": end}
    return {"num_generated_tokens": count} | {k: v for k, v in times.items() if v is not None}


def test_tokens_are_averaged_over_the_samples_of_an_item_then_over_items() -> None:
    # Not 5 rows of 37 tokens in all: each item counts once, however many samples it has.
    entries = [[row(10), row(20)], [row(3), row(3), row(1)]]
    assert common_metrics(entries) == {"num_entries": 2, "avg_tokens": int((15 + 7 / 3) / 2)}


def test_averages_and_seconds_are_cut_and_not_rounded() -> None:
    found = common_metrics([[row(1, 10.0, 11.0)], [row(2, 10.5, 13.99)]])
    assert found == {"num_entries": 2, "avg_tokens": 1, "gen_seconds": 3}


def test_seconds_run_from_the_first_start_to_the_last_end_of_all_rows() -> None:
    assert common_metrics([[row(1, 7.0, 8.0), row(1, 2.0, 3.0)], [row(1, 4.0, 20.0)]]) == {
        "num_entries": 2,
        "avg_tokens": 1,
        "gen_seconds": 18,
    }


@pytest.mark.parametrize(
    "rows",
    [
        [row(None)],  # a server that counts no tokens
        [{}],
        [row(None, start=1.0)],  # an answer that never ended
        [row(None, end=1.0)],
    ],
)
def test_what_was_not_counted_is_left_out_and_not_zero(rows: list[dict[str, Any]]) -> None:
    assert common_metrics([rows]) == {"num_entries": 1}


def test_nothing_at_all_is_no_entries() -> None:
    assert common_metrics([]) == {"num_entries": 0}


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        ({}, (0, 0, 0)),
        ({"num_generated_tokens": None}, (0, 0, 0)),
        ({"num_generated_tokens": 9}, (9, 0, 9)),
        (
            {"num_generated_tokens": 9, "num_reasoning_tokens": 7, "num_answer_tokens": 2},
            (9, 7, 2),
        ),
        # All of it was thinking: none of it is the answer's.
        (
            {"num_generated_tokens": 9, "num_reasoning_tokens": 9, "num_answer_tokens": 0},
            (9, 9, 0),
        ),
        ({"num_generated_tokens": 9, "num_reasoning_tokens": 7}, (9, 7, 0)),
        ({"num_generated_tokens": 9, "num_reasoning_tokens": 0}, (9, 0, 9)),
    ],
)
def test_tokens_of_thinking_and_of_the_answer(
    counted: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    assert (tokens(counted), reasoning_tokens(counted), answer_tokens(counted)) == expected
