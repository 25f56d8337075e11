"""Tables: every value of the files, nothing left out, everything wrong named."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ResultError, UserError
from harness.results.collect import collect_file, headlines
from harness.results.table import Row, Table, csv_text, long_csv_text, screen_table
from harness.results.tree import collect_tree
from tests.support import shared_data

DATA = shared_data()
needs_data = pytest.mark.skipif(
    DATA is None, reason="the shared benchmark data is not beside the repository"
)


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def metrics(score: float, n: int = 10) -> dict[str, Any]:
    return {"gsm8k": {"pass@1": {"num_entries": n, "symbolic_correct": score}}}


@pytest.fixture
def real_tree(tmp_path: Path) -> Path:
    assert DATA is not None
    tree = tmp_path / "tree"
    for source in (DATA / "nemo_skills_eval_tree").rglob("*"):
        if source.is_file():
            target = tree / source.relative_to(DATA / "nemo_skills_eval_tree")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return tree


@needs_data
def test_the_real_tree_gives_three_rows_with_every_value(real_tree: Path) -> None:
    table = collect_tree(real_tree)
    rows = list(csv.DictReader(io.StringIO(csv_text(table))))
    assert [(r["checkpoint"], r["step"]) for r in rows] == [
        ("checkpoint-500", "500"), ("checkpoint-1000", "1000"), ("checkpoint-1500", "1500"),
    ]  # fmt: skip
    for row in rows:
        combined = json.loads(
            (real_tree / row["checkpoint"] / "eval-results" / "metrics.json").read_text()
        )
        values = 0
        for benchmark, aggregations in combined.items():
            for aggregation, found in aggregations.items():
                for metric, value in found.items():
                    if isinstance(value, int | float):
                        assert float(row[f"{benchmark}/{aggregation}/{metric}"]) == value
                        values += 1
        assert values > 30
    assert float(rows[0]["arena-hard/pass@1/95_CI_low"]) == -5.07
    assert rows[2]["gsm8k/pass@1[avg-of-2]/symbolic_correct_statistics/avg"]
    assert rows[0]["gsm8k/pass@1[avg-of-2]/symbolic_correct"] == ""
    assert table.is_complete, table.problems


@needs_data
def test_damage_in_a_tree_is_named_and_not_hidden(real_tree: Path) -> None:
    (real_tree / "checkpoint-500/eval-results/gsm8k/output.jsonl.done").unlink()
    shutil.rmtree(real_tree / "checkpoint-1000/eval-results/mbpp")
    combined = real_tree / "checkpoint-1000/eval-results/metrics.json"
    data = json.loads(combined.read_text())
    del data["mbpp"]
    data["gsm8k"]["pass@1"]["symbolic_correct"] = 99.0
    combined.write_text(json.dumps(data))
    (real_tree / "checkpoint-1500/eval-results/ifeval/metrics.json").write_text('{"ifeval": ')
    found = {(p.checkpoint, p.benchmark): p.state for p in collect_tree(real_tree).problems}
    assert found == {
        ("checkpoint-500", "gsm8k"): "invalid",
        ("checkpoint-1000", "mbpp"): "missing",
        ("checkpoint-1000", "gsm8k"): "stale",
        ("checkpoint-1500", "ifeval"): "invalid",
    }


def test_checkpoints_with_different_items_do_not_compare(tmp_path: Path) -> None:
    write(tmp_path / "checkpoint-1" / "metrics.json", metrics(1.0, 10))
    write(tmp_path / "checkpoint-2" / "metrics.json", metrics(2.0, 9))
    problems = collect_tree(tmp_path).problems
    assert [(p.benchmark, p.state, p.reason) for p in problems] == [
        ("gsm8k", "invalid", "num_entries differ: 10, 9")
    ]


def test_a_tree_without_checkpoints_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint-<step>"):
        collect_tree(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        collect_tree(tmp_path / "absent")


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
    origins = {("base", name): facts for name in metrics}
    rows = (Row.of("r", "base", 0, metrics), Row.of("r", "other", 1, metrics))
    lines = long_csv_text(Table(rows, origins=origins)).splitlines()
    assert lines[0].endswith(
        "value,n,backend,engine,engine_version,fingerprint,template_sha256,prompts_sha256"
    )
    assert lines[4] == (
        "r,base,0,mmlu-computer science,pass@1,symbolic_correct,0.0,2,builtin,vllm,0.32,,,"
    )
    assert lines[8].endswith(",0.0,2,,,,,,")


def test_the_screen_shows_headlines_only() -> None:
    rows = (Row.of("r", "checkpoint-5", 5, metrics(33.333)),)
    table = Table(rows)
    assert headlines(table) == ["gsm8k/symbolic_correct"]
    text = screen_table(table, headlines(table))
    assert "33.33" in text
    assert "num_entries" not in text


def test_the_picture_has_a_panel_per_headline(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra `report`")
    from harness.results.plots import plot_table

    table = Table(
        (Row.of("r", "base", 0, metrics(0.0)), Row.of("r", "checkpoint-5", 5, metrics(9.0)))
    )
    plot_table(table, headlines(table), tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


def test_a_judged_score_is_shown_with_its_interval() -> None:
    values = {"num_entries": 500, "score": 52.05, "95_CI": [-5.07, 4.99], "invalid_scores": 0}
    row = Row.of("r", "checkpoint-5", 5, {"arena-hard": {"pass@1": values},
                                          "mt-bench": {"pass@1": {"average": 6.125}}})  # fmt: skip
    table = Table((row,))
    assert headlines(table) == ["arena-hard/score", "mt-bench/average"]
    shown = screen_table(table, headlines(table))
    assert "52.05 (-5.07 +4.99)" in shown
    assert "6.12" in shown and "95_CI" not in shown
