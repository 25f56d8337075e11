"""A table on the screen: what a person looks at first, every name as it is."""

from __future__ import annotations

from typing import Any

from harness.results.collect import headlines
from harness.results.screen import screen_table
from harness.results.table import Row, Table


def metrics(score: float, n: int = 10) -> dict[str, Any]:
    return {"gsm8k": {"pass@1": {"num_entries": n, "symbolic_correct": score}}}


def test_the_screen_shows_headlines_only() -> None:
    rows = (Row.of("r", "checkpoint-5", 5, metrics(33.333)),)
    table = Table(rows)
    assert headlines(table) == ["gsm8k/pass@1/symbolic_correct"]
    text = screen_table(table, headlines(table))
    assert "33.33" in text
    assert "num_entries" not in text


def test_a_judged_score_is_shown_with_its_interval() -> None:
    values = {"num_entries": 500, "score": 52.05, "95_CI": [-5.07, 4.99], "invalid_scores": 0}
    row = Row.of("r", "checkpoint-5", 5, {"arena-hard": {"pass@1": values},
                                          "mt-bench": {"pass@1": {"average": 6.125}}})  # fmt: skip
    table = Table((row,))
    assert headlines(table) == ["mt-bench/pass@1/average", "arena-hard/pass@1/score"]
    shown = screen_table(table, headlines(table))
    assert "52.05 (-5.07 +4.99)" in shown
    assert "6.12" in shown and "95_CI" not in shown


def test_the_screen_shows_everything_where_no_headline_is_known() -> None:
    values = {"own": {"pass@1": {"x": 12.341, "word": "yes", "count": 7}}}
    other = {"own": {"pass@1": {"x": None}}}
    table = Table((Row.of("r", "base", None, values), Row.of("r", "checkpoint-20", 20, other)))
    lines = screen_table(table, ["gsm8k/symbolic_correct"]).splitlines()
    assert lines[2].split() == ["checkpoint", "step", "count", "word", "x"]
    first, second = (line.split() for line in lines[-2:])
    assert first == ["base", "7", "yes", "12.34"]
    assert second == ["checkpoint-20", "20", "-", "-", "-"]


def test_only_a_judged_score_gets_an_interval() -> None:
    values: Any = {"arena-hard": {"pass@1": {"score": 50.0, "95_CI": [-1.0, 2.0]}},
              "other": {"pass@1": {"accuracy": 50.0, "95_CI": [-1.0, 2.0]}},
              "bare": {"pass@1": {"score": 50.0}}}  # fmt: skip
    table = Table((Row.of("r", "base", 0, values),))
    shown = screen_table(
        table,
        [
            f"{b}/pass@1/{m}"
            for b, m in (("arena-hard", "score"), ("other", "accuracy"), ("bare", "score"))
        ],
    )
    assert shown.splitlines()[-1].split() == [
        "base", "0", "50.00", "(-1.00", "+2.00)", "50.00", "50.00",
    ]  # fmt: skip
