"""A run, or one file of metrics, as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ResultError
from harness.results.collect import collect_file
from harness.results.table import csv_text


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
