"""A tree of checkpoint folders as one table: nothing left out, everything wrong named."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.results.table import csv_text
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


def metrics(score: float, n: int = 10, name: str = "gsm8k") -> dict[str, Any]:
    return {name: {"pass@1": {"num_entries": n, "symbolic_correct": score}}}


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
    (tmp_path / "checkpoint-5" / "weights").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError) as caught:
        collect_tree(tmp_path)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{tmp_path}: no results below it: no metrics.json, and no results_")
    found = second.removeprefix("found in 3 folders: ").split(", ")
    assert sorted(found) == ["checkpoint-5", "checkpoint-5/weights", "notes.txt"]
    with pytest.raises(UserError, match="no such folder"):
        collect_tree(tmp_path / "absent")
    with pytest.raises(UserError, match=r"notes\.txt: is no folder"):
        collect_tree(tmp_path / "notes.txt")


def test_rows_come_in_order_of_run_and_step_and_the_base_first(tmp_path: Path) -> None:
    tree = tmp_path / "it's a tree é"
    for name in ("b/checkpoint-5", "a/checkpoint-20", "a/checkpoint-3", "a/base"):
        write(tree / name / "metrics.json", metrics(1.0))
    write(tree / "a" / "checkpoint-last" / "metrics.json", metrics(9.0))
    table = collect_tree(tree)
    assert [(row.run, row.checkpoint, row.step) for row in table.rows] == [
        ("a", "base", 0), ("a", "checkpoint-3", 3), ("a", "checkpoint-20", 20),
        ("a", "checkpoint-last", None), ("b", "checkpoint-5", 5),
    ]  # fmt: skip
    assert table.is_complete


def test_a_single_checkpoint_folder_is_a_tree_too(tmp_path: Path) -> None:
    write(tmp_path / "r" / "checkpoint-5" / "eval-results" / "metrics.json", metrics(1.0))
    (row,) = collect_tree(tmp_path / "r" / "checkpoint-5").rows
    assert (row.run, row.step) == ("r", 5)


def test_the_combined_file_fills_in_what_has_no_file_of_its_own(tmp_path: Path) -> None:
    root = tmp_path / "r" / "checkpoint-5"
    write(root / "gsm8k" / "metrics.json", metrics(1.0))
    write(root / "metrics.json", metrics(1.0) | metrics(2.0, name="mmlu"))
    table = collect_tree(tmp_path)
    values = table.rows[0].values
    assert values["gsm8k/pass@1/symbolic_correct"] == 1.0
    assert values["mmlu/pass@1/symbolic_correct"] == 2.0
    assert table.is_complete


def test_where_two_files_contradict_each_other_the_benchmarks_own_is_taken(tmp_path: Path) -> None:
    root = tmp_path / "r" / "checkpoint-5"
    write(root / "gsm8k" / "metrics.json", metrics(1.0))
    write(root / "metrics.json", metrics(2.0))
    table = collect_tree(tmp_path)
    assert table.rows[0].values["gsm8k/pass@1/symbolic_correct"] == 1.0
    (problem,) = table.problems
    assert (problem.benchmark, problem.state) == ("gsm8k", "stale")
    assert str(root / "metrics.json") in problem.reason


def test_an_unreadable_file_is_named_and_no_value_is_made_up_for_it(tmp_path: Path) -> None:
    good, bad = tmp_path / "r" / "checkpoint-5", tmp_path / "r" / "checkpoint-10"
    for root in (good, bad):
        write(root / "gsm8k" / "metrics.json", metrics(1.0))
        write(root / "mmlu" / "metrics.json", metrics(1.0, name="mmlu"))
    broken = write(bad / "mmlu" / "metrics.json", "{")
    table = collect_tree(tmp_path)
    assert "mmlu/pass@1/symbolic_correct" not in table.rows[1].values
    (problem,) = table.problems
    assert (problem.checkpoint, problem.benchmark, problem.state) == (
        "checkpoint-10", "mmlu", "invalid",
    )  # fmt: skip
    assert (problem.log, str(broken) in problem.reason) == (str(broken), True)


@pytest.mark.parametrize(
    ("mark", "finished"), [("", False), ("output-rs0.jsonl.done", True), ("task.json", True)]
)
def test_answers_count_as_finished_by_their_mark_or_their_own_record(
    tmp_path: Path, mark: str, finished: bool
) -> None:
    root = tmp_path / "r" / "checkpoint-5" / "gsm8k"
    write(root / "metrics.json", metrics(1.0))
    write(root / "output-rs0.jsonl", "{}")
    if mark:
        write(root / mark, {"state": "ok"} if mark == "task.json" else "")
    problems = collect_tree(tmp_path).problems
    assert [p.reason for p in problems] == (
        [] if finished else ["output-rs0.jsonl has no .done mark: it was not finished"]
    )


def test_a_benchmark_that_only_others_have_is_missing(tmp_path: Path) -> None:
    both = metrics(1.0) | metrics(2.0, name="mmlu")
    write(tmp_path / "r" / "checkpoint-5" / "metrics.json", both)
    write(tmp_path / "r" / "checkpoint-10" / "metrics.json", metrics(1.0))
    (problem,) = collect_tree(tmp_path).problems
    assert str(problem) == ("checkpoint-10 x mmlu: missing: other checkpoints have this benchmark")
