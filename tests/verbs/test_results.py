"""`collect` and `grade`: one table and its exit code, and a mistake before anything is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.registry import BENCHMARKS
from harness.runs.files import write_json
from harness.runs.metrics import TaskRecord, write_task
from harness.runs.paths import RunPaths
from tests.plan.test_plan import make_spec
from tests.scheduling.test_cells import planned
from tests.verbs.test_common import command


def metrics(score: float, n: int = 10) -> dict[str, Any]:
    return {"gsm8k": {"pass@1": {"num_entries": n, "symbolic_correct": score}}}


def evaluated(folder: Path, *done: str) -> RunPaths:
    """A run of checkpoints 4, 8 and 10 on gsm8k, of which these are evaluated."""
    run = planned(folder / "runs", make_spec(benchmarks=["gsm8k"]), {}, "local")
    for checkpoint in done:
        cell = run.cell(checkpoint, "gsm8k")
        write_json(cell.metrics, metrics(50.0))
        write_task(cell, TaskRecord(state="ok"))
    return run


def test_a_whole_run_is_one_table_whose_files_are_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = evaluated(here, "checkpoint-4", "checkpoint-8", "checkpoint-10")
    assert command("collect") == 0
    out = capsys.readouterr().out
    assert "3 cells: 3 ok" in out
    assert str(run.results_csv) in out.splitlines()
    assert run.results_csv.read_text().splitlines()[1:] == [
        f"it's a run é,checkpoint-{step},{step},10,50.0" for step in (4, 8, 10)
    ]


def test_a_cell_that_is_not_ok_is_named_and_told_by_the_exit_code(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated(here, "checkpoint-4", "checkpoint-8")
    assert command("collect", "20260101-000000-aaaa", "--json") == 1
    table = json.loads(capsys.readouterr().out)
    assert table["complete"] is False
    (problem,) = table["problems"]
    assert (problem["checkpoint"], problem["benchmark"]) == ("checkpoint-10", "gsm8k")
    last = next(row for row in table["rows"] if row["step"] == 10)
    assert "gsm8k/pass@1/symbolic_correct" not in last, "unknown is not 0"


def test_a_tree_goes_where_it_is_told_and_nowhere_else(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(here / "tree" / "r" / "checkpoint-5" / "metrics.json", metrics(1.0))
    assert command("collect", "--batch", "tree") == 0
    assert sorted(p.name for p in here.iterdir()) == ["site.yaml", "tree"]
    assert command("collect", "--batch", "tree", "-o", "new/out é.csv") == 0
    assert capsys.readouterr().out.endswith("new/out é.csv\n")
    assert (here / "new" / "out é.csv").read_text().splitlines()[1] == "r,checkpoint-5,5,10,1.0"


def test_a_single_file_is_named_by_its_folder_unless_it_is_said(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(here / "my-model" / "metrics.json", metrics(1.0))
    for more, name in (((), "my-model"), (("--model", "it, too"), "it, too")):
        assert command("collect", "my-model/metrics.json", *more, "--json") == 0
        (row,) = json.loads(capsys.readouterr().out)["rows"]
        assert (row["run"], row["step"]) == (name, None)


def test_a_csv_that_cannot_be_written_is_one_message(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(here / "metrics.json", metrics(1.0))
    (here / "file").write_text("")
    assert command("collect", "metrics.json", "-o", "file/out.csv") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: file/out.csv: cannot be written: ")


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (
            ["run", "--batch", "d"],
            2,
            "give either a run (or metrics file) or --batch DIR, not both",
        ),
        (["run", "--model", "x"], 2, "--model names the row of a single metrics file: give one"),
        (["--batch", "d", "--model", "x"], 2, "--model names the row of a single metrics file"),
        (["--batch", "absent"], 2, "absent: no such folder"),
        (["absent.json"], 1, "absent.json: no such file"),
        (["it's a rum é"], 2, 'did you mean "it\'s a run é"?'),
    ],
)
def test_a_mistake_of_collect_is_one_message(
    here: Path, capsys: pytest.CaptureFixture[str], argv: list[str], code: int, words: str
) -> None:
    run = evaluated(here)
    assert command("collect", *argv) == code
    out, err = capsys.readouterr()
    assert out == "" and words in err
    assert not run.results_csv.exists()


def answers(path: Path, wrong: int = 0) -> list[dict[str, Any]]:
    """Four answers with their own questions, of which some are wrong."""
    rows = [
        {"id": f"own/{n}", "question": f"question {n}?", "reference": {"expected_answer": "B"},
         "response": f"The answer is \\boxed{{{'A' if n < wrong else 'B'}}}."}
        for n in range(4)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def test_answers_are_graded_in_order_and_their_files_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = answers(here / "a é.jsonl", wrong=1)
    assert command("grade", "mmlu", "a é.jsonl") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["a é.graded.jsonl", "a é.graded.jsonl.metrics.json"]
    assert ["pass@1/symbolic_correct", "75.00"] in [line.split() for line in lines]
    assert ["pass@1/num_entries", "4"] in [line.split() for line in lines]
    graded = [json.loads(line) for line in (here / "a é.graded.jsonl").read_text().splitlines()]
    assert [row["id"] for row in graded] == [row["id"] for row in rows]
    assert [row["grade"]["symbolic_correct"] for row in graded] == [False, True, True, True]
    assert command("grade", "mmlu", "a é.jsonl", "-o", "out.jsonl", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["mmlu"]["pass@1"]["symbolic_correct"] == 75.0
    assert found == json.loads((here / "out.jsonl.metrics.json").read_text())


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["gsm9k", "a.jsonl"], "unknown benchmark 'gsm9k'; did you mean 'gsm8k'?"),
        (["mt-bench", "a.jsonl"], "mt-bench is graded by a judge"),
        (["gsm8k", "a.jsonl", "b.jsonl", "-o", "c.jsonl"], "--output names one file"),
        (["gsm8k", "a.jsonl", "./a.jsonl"], "a.jsonl: given twice"),
        (["gsm8k", "a.jsonl", "-o", "./a.jsonl"], "would overwrite the answers: name another file"),
        (["mmlu", "absent.jsonl"], "absent.jsonl"),
    ],
)
def test_a_mistake_of_grade_is_one_message_and_nothing_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    answers(here / "a.jsonl")
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    assert command("grade", *argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and words in err
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before


def arithmetic_answers(path: Path, numbers: range, twice: int = 0, foreign: int = 0) -> Path:
    """Right answers to these items of a generated benchmark; some again, some to other items."""
    items = BENCHMARKS["arithmetic"].generate()  # type: ignore[misc]
    rows = [{"id": items[n]["id"], "response": f"\\boxed{{{items[n]['expected_answer']}}}"}
            for n in numbers]  # fmt: skip
    rows += rows[:twice]
    rows += [{"id": f"other/{n}", "question": f"{n}?", "reference": n, "response": f"\\boxed{{{n}}}"}
             for n in range(foreign)]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


HALF = "note: 100 of the benchmark's 200 items are answered: 50.0 % of the whole"


@pytest.mark.long
def test_grade_counts_items_and_not_rows(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = arithmetic_answers(here / "a.jsonl", range(100))
    second = arithmetic_answers(here / "b.jsonl", range(100))
    assert command("grade", "arithmetic", str(first), str(second)) == 0
    told = capsys.readouterr().err.splitlines()
    assert HALF in told and "note: 2 answers for each of 100 items, one a file" in told
    mixed = arithmetic_answers(here / "c.jsonl", range(100), twice=20, foreign=80)
    assert command("grade", "arithmetic", str(mixed)) == 0
    told = capsys.readouterr().err.splitlines()
    assert HALF in told
    assert any(line.startswith("note: 20 rows answer an item that another row") for line in told)
    assert any(
        line.startswith("note: 80 of 200 answers are of items that are not") for line in told
    )
    other = arithmetic_answers(here / "d.jsonl", range(100, 200))
    assert command("grade", "arithmetic", str(first), str(other)) == 2
    assert "Parts of one benchmark go into one file: cat" in capsys.readouterr().err
    whole = arithmetic_answers(here / "e.jsonl", range(200))
    assert command("grade", "arithmetic", str(whole)) == 0
    assert "note:" not in capsys.readouterr().err
