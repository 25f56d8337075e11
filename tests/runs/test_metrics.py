"""The schema of results, what became of a cell, and numbers that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ResultError
from harness.runs.files import write_json
from harness.runs.metrics import (
    Metrics,
    TaskRecord,
    flatten,
    read_metrics,
    read_result,
    read_task,
    read_values,
    record_absent,
    write_metrics,
    write_task,
)
from harness.runs.paths import CellPaths


@pytest.fixture
def cell(tmp_path: Path) -> CellPaths:
    return CellPaths(tmp_path / "checkpoint-4" / "gsm8k")


def test_a_record_comes_back_as_it_was_written_and_none_is_none(cell: CellPaths) -> None:
    assert read_task(cell) is None
    record = TaskRecord(state="failed", reason='a\n"b" é', job_id="7_0", facts={"items": 3})
    write_task(cell, record)
    assert read_task(cell) == record
    # What says nothing is not written.
    assert set(json.loads(cell.task.read_text())) == {"state", "reason", "job_id", "facts"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as JSON"),
        ("[]", "not a task record: a mapping (`name: value` lines) is expected (got a list)"),
        ('{"state": "ok", "facts": 5}', "not a task record: facts: a mapping "),
        ('{"state": "ok", "job_id": 5}', "not a task record: job_id: text is expected (got 5)"),
        ('{"reason": "x"}', "not a task record: state: required, but not given"),
        ('{"state": "queued"}', "not a task record: state: 'running', 'answered', 'ok', "),
        ('{"state": "ok", "colour": 1}', "not a task record: colour: unknown key"),
    ],
)
def test_an_unreadable_record_is_an_error_with_its_file(
    cell: CellPaths, text: str, message: str
) -> None:
    cell.root.mkdir(parents=True)
    cell.task.write_text(text)
    with pytest.raises(ResultError) as caught:
        read_task(cell)
    assert str(caught.value).startswith(f"{cell.task}: {message}")


def test_a_cell_waits_for_its_judge_only_with_its_answers() -> None:
    assert TaskRecord(state="answered").is_answered
    assert TaskRecord(state="failed", facts={"answers_kept": True}).is_answered
    assert not TaskRecord(state="failed", facts={"answers_kept": False}).is_answered
    assert not TaskRecord(state="ok").is_answered


@pytest.mark.parametrize("state", ["ok", "failed", None])
@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize("written", [True, False])
def test_a_checkpoint_that_is_gone_does_not_undo_what_was_measured(
    cell: CellPaths, state: Any, measured: bool, written: bool
) -> None:
    if state:
        write_task(cell, TaskRecord(state=state))
    if measured:
        write_json(cell.metrics, {"gsm8k": {}})
    record_absent(cell, "never written", "/log", written)
    found = read_task(cell)
    assert found is not None
    kept = state == "ok" and measured
    told = ("failed", "its checkpoint was deleted") if written else ("missing", "never written")
    assert (found.state, found.reason, found.log) == (("ok", "", "") if kept else (*told, "/log"))
    assert bool(found.ended) == (not kept)
    assert cell.metrics.is_file() == measured


def test_a_record_that_cannot_be_read_is_no_result(cell: CellPaths) -> None:
    cell.root.mkdir(parents=True, exist_ok=True)
    cell.task.write_text("{")
    write_json(cell.metrics, {"gsm8k": {}})
    record_absent(cell, "never written", "/log", False)
    found = read_task(cell)
    assert found is not None
    assert found.state == "missing"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (b"", "cannot be read as JSON"),
        (b'{"gsm8k": ', "cannot be read as JSON"),
        (b"\x00" * 40, "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b"[]", "no benchmark in it"),
        (b'{"mmlu": {}}', "has no gsm8k"),
        (b'{"gsm8k": {"pass@1": {"accuracy": NaN}}}', "not a finite number"),
        (b'{"gsm8k": {"pass@1": {"accuracy": 99}}}', "was changed after it was written"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_result_is_what_was_written_or_none(
    cell: CellPaths, damage: bytes | None, told: str
) -> None:
    metrics: Metrics = {"gsm8k": {"pass@1": {"accuracy": 50}}}
    record = TaskRecord(state="ok", facts={"metrics_sha256": write_metrics(cell, metrics)})
    assert read_result(cell, "gsm8k", record) == metrics
    assert read_result(cell, "gsm8k", TaskRecord(state="ok")) == metrics  # of an older version
    cell.metrics.unlink()
    if damage is not None:
        cell.metrics.write_bytes(damage)
    with pytest.raises(ResultError, match=told):
        read_result(cell, "gsm8k", record)


VALUES: dict[str, Any] = {
    "accuracy": 50, "ci": [48.1, 51.9], "runs": [1, 2, 3], "one": [7], "none": None,
    "note": "greedy", "stats": {"mean": 1.5, "ci": [1, 2]}, "empty": {}, "zero": 0.0,
}  # fmt: skip


def test_metrics_become_columns_in_the_files_order(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"b": {"pass@1": VALUES}, "a": {}})
    assert list(flatten(read_metrics(path))) == [
        ("b/pass@1/accuracy", 50),
        ("b/pass@1/ci_low", 48.1),
        ("b/pass@1/ci_high", 51.9),
        ("b/pass@1/runs_0", 1),
        ("b/pass@1/runs_1", 2),
        ("b/pass@1/runs_2", 3),
        ("b/pass@1/one_0", 7),
        ("b/pass@1/none", None),
        ("b/pass@1/note", "greedy"),
        ("b/pass@1/stats/mean", 1.5),
        ("b/pass@1/stats/ci_low", 1),
        ("b/pass@1/stats/ci_high", 2),
        ("b/pass@1/zero", 0.0),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "no benchmark in it"),
        ("[1]", "no benchmark in it"),
        ("null", "no benchmark in it"),
        ('{"b": 1}', "b: {aggregation: {metric: value}} is expected"),
        ('{"b": {"p": 1}}', "b/p: {metric: value} is expected"),
        ('{"b": {"p": {"m": NaN}}}', "b/p/m: nan is not a finite number"),
        ('{"b": {"p": {"m": 1e999}}}', "b/p/m: inf is not a finite number"),
        ('{"b": {"p": {"m": {"x": [1, -Infinity]}}}}', "b/p/m/x: -inf is not a finite number"),
        ('{"b": {"p": {"m": 1}', "cannot be read as JSON"),
    ],
)
def test_what_is_no_metric_is_named_with_file_and_key(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(text)
    with pytest.raises(ResultError) as caught:
        read_metrics(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_metrics_file_that_is_not_there_is_an_error_and_no_zero(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"metrics\.json: no such file"):
        read_metrics(tmp_path / "metrics.json")


def test_a_value_that_is_none_leaves_its_place_empty_and_its_neighbours_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "metrics.json"
    deep = "[" * 20 + "1" + "]" * 20
    path.write_text(
        '{"a": {"p": {"x": NaN, "y": 1, "ci": [2, Infinity], "s": {"t": -Infinity, "u": 3}}}, '
        f'"b": 5, "c": {{"p": 6, "q": {{"z": 7, "deep": {deep}}}}}, "a b": {{"p": {{"k": 1, "k": 2}}}}}}'
    )
    values, odd = read_values(path)
    assert values == {
        "a": {"p": {"x": None, "y": 1, "ci": [2, None], "s": {"t": None, "u": 3}}},
        "c": {"q": {"z": 7, "deep": values["c"]["q"]["deep"]}},
        "a b": {"p": {"k": 2}},
    }
    assert odd == [
        "k: is there twice; the last counts",
        "a/p/x: nan is not a finite number", "a/p/ci: inf is not a finite number",
        "a/p/s/t: -inf is not a finite number",
        "b: {aggregation: {metric: value}} is expected", "c/p: {metric: value} is expected",
        "c/q/deep: is nested too deeply",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"loss": 1.5}', "[" * 100_000],
    ids=["empty", "list", "object", "null", "flat", "deep"],
)
def test_a_file_with_nothing_of_the_schema_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(text)
    with pytest.raises(ResultError) as caught:
        read_values(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_name_with_a_slash_stays_one_part_of_its_column() -> None:
    columns = dict(flatten({"a/b": {"p/q": {"x/y": 1}}}))
    assert columns == {"a%2Fb/p%2Fq/x/y": 1}
