"""Rows of metrics as CSV and on the screen: every value, unknown is empty and never 0."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from harness.results.table import (
    Problem,
    Row,
    Table,
    csv_text,
    long_csv_text,
    origin,
    write_csv,
    write_long_csv,
)


def metrics(score: float, n: int = 10) -> dict[str, Any]:
    return {"gsm8k": {"pass@1": {"num_entries": n, "symbolic_correct": score}}}


def test_numbers_are_not_rounded_and_absent_ones_are_empty() -> None:
    table = Table(
        (
            Row.of("r", "base", 0, {"a": {"pass@1": {"x": 1 / 3}}}),
            Row.of("r", "checkpoint-5", 5, {"a": {"pass@1": {"x": 0.5, "y": None}}}),
        )
    )
    lines = csv_text(table).splitlines()
    assert lines == [
        "run,checkpoint,step,a/pass@1/x,a/pass@1/y",
        f"r,base,0,{1 / 3},",
        "r,checkpoint-5,5,0.5,",
    ]
    assert long_csv_text(table).splitlines()[1] == f"r,base,0,a,pass@1,x,{1 / 3},,,,,,,"


def test_the_long_form_tells_of_how_many_entries_and_where_a_value_comes_from() -> None:
    metrics = {
        "mmlu": {"pass@1": {"num_entries": 4, "symbolic_correct": 50.0}},
        "mmlu-computer science": {"pass@1": {"num_entries": 2, "symbolic_correct": 0.0}},
    }
    facts = {"backend": "builtin", "engine": "vllm", "engine_version": "0.32", "seconds": {}}
    origins = {("r", "base", name): origin(facts) for name in metrics}
    rows = (Row.of("r", "base", 0, metrics), Row.of("r", "other", 1, metrics))
    lines = long_csv_text(Table(rows, origins=origins)).splitlines()
    assert lines[0].endswith(
        "value,n,backend,engine,engine_version,fingerprint,template_sha256,prompts_sha256"
    )
    assert lines[4] == (
        "r,base,0,mmlu-computer science,pass@1,symbolic_correct,0.0,2,builtin,vllm,0.32,,,"
    )
    assert lines[8].endswith(",0.0,2,,,,,,")


def test_names_with_commas_quotes_and_line_ends_come_back_from_both_csvs() -> None:
    hostile = 'a, "b"\nc é'
    table = Table((Row(hostile, "base", None, {"gsm8k/pass@1/x": 1.5}),))
    (wide,) = csv.DictReader(io.StringIO(csv_text(table)))
    (long,) = csv.DictReader(io.StringIO(long_csv_text(table)))
    assert wide["run"] == long["run"] == hostile
    assert (wide["step"], long["step"]) == ("", "")
    assert (wide["gsm8k/pass@1/x"], long["value"]) == ("1.5", "1.5")


def test_a_value_of_zero_is_zero_and_an_unknown_one_is_no_row_of_the_long_form() -> None:
    values = {"a": {"pass@1": {"num_entries": 0, "x": 0.0, "y": None}}}
    table = Table((Row.of("r", "base", 0, values),))
    assert csv_text(table).splitlines()[1] == "r,base,0,0,0.0,"
    rows = list(csv.DictReader(io.StringIO(long_csv_text(table))))
    assert [(r["metric"], r["value"], r["step"], r["n"]) for r in rows] == [
        ("num_entries", "0", "0", "0"), ("x", "0.0", "0", "0"),
    ]  # fmt: skip


def test_columns_of_a_benchmark_stand_together_in_the_plans_order_whatever_rows_there_are() -> None:
    first = {"b": {"pass@1": {"x": 1}}, "a": {"pass@1": {"x": 2}}}
    later = {"b": {"pass@4": {"x": 3}}, "c": {"pass@1": {"x": 4}}}
    rows = (Row.of("r", "base", 0, first), Row.of("r", "checkpoint-1", 1, later))
    whole = ["b/pass@1/x", "b/pass@4/x", "a/pass@1/x", "c/pass@1/x"]
    for given in (rows, rows[::-1], rows[:1], rows[1:]):
        columns = Table(given, benchmarks=("b", "a", "c")).columns
        assert columns == [c for c in whole if any(c in row.values for row in given)]


def test_a_table_is_complete_only_with_rows_and_without_problems() -> None:
    row = Row.of("r", "base", 0, metrics(1.0))
    problem = Problem("base", "ifeval", "failed", "it died")
    assert Table((row,)).is_complete
    assert not Table((row,), (problem,)).is_complete
    assert not Table(()).is_complete


def test_the_summary_counts_every_planned_cell_once() -> None:
    row = Row.of("r", "base", 0, metrics(1.0))
    bad = tuple(Problem("base", name, state, "") for name, state in
                (("a", "failed"), ("b", "missing"), ("c", "failed")))  # fmt: skip
    assert Table((row,), bad, planned=5).summary() == "5 cells: 2 ok, 2 failed, 1 missing"
    assert Table((row,), bad, planned=3).summary() == "3 cells: 2 failed, 1 missing"
    assert Table((row,), bad).summary() == "1 checkpoint, 3 problems"
    assert Table((row,)).summary() == "1 checkpoint, complete"


def test_a_problem_tells_where_what_and_why_and_its_log_where_there_is_one() -> None:
    assert str(Problem("base", "mmlu", "failed", "it died", "/l/x.err")) == (
        "base x mmlu: failed: it died\n    log: /l/x.err"
    )
    assert str(Problem("base", "mmlu", "waiting", "")) == "base x mmlu: waiting"


def test_names_that_are_no_utf_8_and_values_that_are_no_numbers_are_written(tmp_path: Path) -> None:
    rows = (Row("r\udcff", "a\rb", None, {"x/p/yes": True, "x/p/big": 2**60 + 1, "x/p/no": None}),)
    table = Table(rows)
    write_csv(tmp_path / "wide.csv", table)
    write_long_csv(tmp_path / "long.csv", table)
    with (tmp_path / "wide.csv").open(newline="", encoding="utf-8") as file:
        (wide,) = csv.DictReader(file)
    assert wide == {"run": "r\\udcff", "checkpoint": "a\\rb", "step": "", "x/p/big": str(2**60 + 1),
                    "x/p/no": "", "x/p/yes": "true"}  # fmt: skip
    with (tmp_path / "long.csv").open(newline="", encoding="utf-8") as file:
        assert [(r["metric"], r["value"]) for r in csv.DictReader(file)] == [
            ("big", str(2**60 + 1)), ("yes", "true"),
        ]  # fmt: skip


def test_a_csv_replaces_the_old_one_whole_and_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "out é.csv"
    table = Table((Row.of("r", "base", 0, metrics(1.0)),))
    for _ in range(2):
        write_csv(path, table)
    assert path.read_text(encoding="utf-8") == csv_text(table)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    path.parent.joinpath("file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_csv(path.parent / "file" / "out.csv", table)
