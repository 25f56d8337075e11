"""A run, or one file of metrics, as a table."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import ResultError
from harness.plan.plan import Cell
from harness.results.collect import cells_table, collect_file
from harness.results.table import csv_text
from harness.scheduling.cells import CellStatus


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def metrics(score: float, n: int = 10) -> dict[str, Any]:
    return {"gsm8k": {"pass@1": {"num_entries": n, "symbolic_correct": score}}}


def test_a_single_file_becomes_one_named_row(tmp_path: Path) -> None:
    table = collect_file(write(tmp_path / "metrics.json", metrics(12.5)), "my-model")
    assert csv_text(table).splitlines() == [
        "run,checkpoint,step,gsm8k/pass@1/num_entries,gsm8k/pass@1/symbolic_correct",
        "my-model,my-model,,10,12.5",
    ]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"gsm8k": 1}', '{"gsm8k": {"pass@1": 3}}',
     '{"gsm8k": {"pass@1": {"x": NaN}}}', '{"gsm8k": {"pass@1": {"x": true'],
)  # fmt: skip
def test_a_file_that_is_no_metrics_file_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ResultError, match=r"metrics\.json"):
        collect_file(write(tmp_path / "metrics.json", content), "x")


def test_results_that_no_program_here_writes_are_no_benchmark_called_results(
    tmp_path: Path,
) -> None:
    other = write(tmp_path / "results.json", {"results": {"gsm8k": {"acc": 0.3}}})
    with pytest.raises(ResultError, match="neither lm-eval's nor lighteval's results"):
        collect_file(other, "x")
    ours = write(tmp_path / "results_7.json", metrics(12.5))
    assert collect_file(ours, "x").rows[0].values["gsm8k/pass@1/symbolic_correct"] == 12.5


def test_a_file_of_which_some_can_be_read_is_a_row_and_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    file.write_text('{"gsm8k": {"pass@1": {"x": NaN, "y": 2}}, "mmlu": {"pass@1": {}}}')
    table = collect_file(file, "step_7")
    assert (table.rows[0].step, table.rows[0].values["gsm8k/pass@1/y"]) == (7, 2)
    assert [(p.benchmark, p.reason) for p in table.problems] == [
        ("gsm8k", f"{file}: gsm8k/pass@1/x: nan is not a finite number"),
        ("mmlu", f"{file}: no metric in it"),
    ]


def test_a_group_of_another_programs_tasks_stands_where_its_benchmark_is_planned() -> None:
    """The order of a run's columns is the plan's, whichever cell failed."""
    plan = SimpleNamespace(
        checkpoints=[SimpleNamespace(name=f"checkpoint-{s}", step=s) for s in (1, 2)], cells=()
    )
    facts: Any = SimpleNamespace(plan=plan, run=SimpleNamespace(name="r"), complete={})
    names = {
        "lm-eval.z": ["lm-eval.z", "lm-eval.b"],
        "gsm8k": ["gsm8k"],
        "lm-eval.a": ["lm-eval.a"],
    }
    order = ["lm-eval.z", "lm-eval.b", "gsm8k", "lm-eval.a"]
    for broken in (None, *((s, b) for s in (1, 2) for b in names)):
        cells = [
            CellStatus(
                Cell(checkpoint=f"checkpoint-{step}", benchmark=benchmark),
                "failed" if broken == (step, benchmark) else "ok",
                metrics={key: {"pass@1": {"acc": 1.0}} for key in keys},
            )
            for step in (1, 2)
            for benchmark, keys in names.items()
        ]
        table = cells_table(facts, cells, "")
        assert [column.split("/")[0] for column in table.columns] == order
        assert [row.step for row in table.rows] == [1, 2]
