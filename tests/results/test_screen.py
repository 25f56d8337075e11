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


HOSTILE = "a[bold]b[/]\x1b[31m\x9b31m:smile:\r\n\u202e\udcff名[/unknown]"


def test_names_and_words_are_shown_as_they_are_and_no_control_reaches_the_terminal() -> None:
    values = {f"own{HOSTILE}": {"pass@1[avg-of-2]": {f"m{HOSTILE}": HOSTILE}}}
    rows = (Row.of(HOSTILE, HOSTILE, 5, values), Row.of("other", "base", 0, {}))
    shown = screen_table(Table(rows))
    safe = "a[bold]b[%]␛[31m\\u009b31m:smile:␍␊\\u202e\\udcff名[%unknown]"
    for text in (safe.replace("%", "/"), "own" + safe.replace("%", "%2F"), "pass@1[avg-of-2]"):
        assert text in shown
    assert all(char == "\n" or char.isprintable() for char in shown)
    shown.encode("utf-8")


def test_columns_are_as_wide_as_a_terminal_shows_them() -> None:
    rows = (Row.of("r", "名前", 5, metrics(1.0)), Row.of("r", "abcd", 10, metrics(10.0)))
    lines = screen_table(Table(rows), ["gsm8k/pass@1/symbolic_correct"]).splitlines()
    assert lines[-2:] == [
        "名前            5               1.00", "abcd           10              10.00",
    ]  # fmt: skip
    assert lines[3] == "─" * 36


def test_runs_are_named_where_there_are_several() -> None:
    one, two = Row.of("r", "base", 0, metrics(1.0)), Row.of("s", "base", 0, metrics(2.0))
    assert screen_table(Table((one,))).splitlines()[2].split()[:2] == ["checkpoint", "step"]
    lines = screen_table(Table((one, two))).splitlines()
    assert lines[2].split()[:3] == ["run", "checkpoint", "step"]
    assert [line.split()[0] for line in lines[-2:]] == ["r", "s"]


def test_a_long_word_is_cut_and_a_table_without_columns_has_its_checkpoints() -> None:
    long = Row.of("r", "base", None, {"own": {"pass@1": {"x": "y" * 1000, "no": False}}})
    last = screen_table(Table((long,))).splitlines()[-1].split()
    assert last == ["base", "false", "y" * 59 + "…"]
    assert screen_table(Table((Row("r", "base", None),))).splitlines() == [
        "checkpoint   step", "─" * 17, "base",
    ]  # fmt: skip


def test_headlines_are_one_of_each_benchmark_and_all_of_an_unknown_one() -> None:
    values: Any = {
        **metrics(1.0), "gsm8k-part": {"pass@1": {"symbolic_correct": 1.0}},
        "lm-eval.a": {"pass@1[strict]": {"num_entries": 4, "exact_match": 1.0},
                      "pass@1[flexible]": {"num_entries": 4, "exact_match": 1.0}},
        "lm-eval.b": {"pass@1": {"acc": 1.0, "acc_norm": 2.0}, "pass@1[x]": {"acc": 1.0}},
        "lighteval.c|0": {"pass@1": {"pass@k:k=1": 1.0, "num_entries": 3}},
        "own": {"pass@1": {"x": 1, "y": 2}},
    }  # fmt: skip
    assert headlines(Table((Row.of("r", "base", 0, values),))) == [
        "gsm8k/pass@1/symbolic_correct", "lighteval.c|0/pass@1/pass@k:k=1",
        "lm-eval.a/pass@1[flexible]/exact_match", "lm-eval.a/pass@1[strict]/exact_match",
        "lm-eval.b/pass@1/acc_norm", "own/pass@1/x", "own/pass@1/y",
    ]  # fmt: skip
