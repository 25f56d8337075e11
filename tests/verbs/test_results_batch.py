"""`collect --batch` and `collect FILE`: nothing of what lies there is left out without a word."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from harness.runs.metrics import TaskRecord, write_task
from harness.runs.paths import RunPaths
from tests.plan.test_plan import make_spec
from tests.results.trees import cell, lighteval, lm_eval, metrics, ns, write
from tests.scheduling.test_cells import planned
from tests.verbs.test_common import command

Out = pytest.CaptureFixture[str]


def collected(*argv: str) -> tuple[int, list[dict[str, str]]]:
    """The exit code, and the CSV's rows."""
    code = command("collect", *argv, "-o", "out.csv")
    with open("out.csv", newline="", encoding="utf-8") as file:
        return code, list(csv.DictReader(file))


def problems(capsys: Out, *argv: str) -> list[tuple[str, str, str, str]]:
    """Run, checkpoint, benchmark and state of what is not ok."""
    capsys.readouterr()
    command("collect", *argv, "--json")
    found = json.loads(capsys.readouterr().out)["problems"]
    return [(p["run"], p["checkpoint"], p["benchmark"], p["state"]) for p in found]


SCORE = "gsm8k/pass@1/symbolic_correct"
NAMES = {
    "checkpoint-500": 500, "global_step1000": 1000, "global_step_1200": 1200, "step_1500": 1500,
    "step-2000": 2000, "iter_0002500": 2500, "iter-2600": 2600, "ckpt_2700": 2700,
    "checkpoint_2800": 2800, "Checkpoint-02900": 2900, "epoch=1-step=3000": 3000,
    "checkpoint-3000-merged": None, "epoch-3": None, "final": None, "hf-ckpt": None,
}  # fmt: skip


def test_a_checkpoint_is_a_row_whatever_its_trainer_called_it(here: Path, capsys: Out) -> None:
    for number, name in enumerate(NAMES):
        ns(here / "tree" / name, float(number))
    code, rows = collected("--batch", "tree")
    assert {row["checkpoint"]: row["step"] for row in rows} == {
        name: "" if step is None else str(step) for name, step in NAMES.items()
    }
    assert [row["checkpoint"] for row in rows] == [
        *[n for n, s in NAMES.items() if s is not None],
        "checkpoint-3000-merged", "epoch-3", "final", "hf-ckpt",
    ]  # fmt: skip
    assert {row["checkpoint"]: float(row[SCORE]) for row in rows} == {
        name: float(number) for number, name in enumerate(NAMES)
    }
    assert (code, "15 checkpoints, complete" in capsys.readouterr().out) == (0, True)


def test_only_other_names_are_a_table_too_and_none_is_an_error_that_names_what_is_there(
    here: Path, capsys: Out
) -> None:
    for step in (500, 1000):
        ns(here / "foreign" / f"global_step{step}", 20.0)
    code, rows = collected("--batch", "foreign")
    assert (code, [row["step"] for row in rows]) == (0, ["500", "1000"])
    for step in (500, 1000):
        (here / "foreign" / f"global_step{step}" / "eval-results/gsm8k/metrics.json").unlink()
    capsys.readouterr()
    assert command("collect", "--batch", "foreign") == 2
    told = capsys.readouterr().err
    assert "foreign: no results below it" in told
    assert "global_step500/eval-results" in told


def test_a_checkpoint_without_results_beside_others_is_named(here: Path, capsys: Out) -> None:
    ns(here / "r" / "step_500", 1.0)
    (here / "r" / "step_1000" / "eval-results").mkdir(parents=True)
    (here / "r" / "step_500" / "global_step500").mkdir()  # DeepSpeed's, inside a checkpoint
    (here / "s" / "step_500").mkdir(parents=True)  # weights, whose results have another name
    ns(here / "s" / "step_500-eval", 1.0)
    assert collected("--batch", "s")[0] == 0
    assert collected("--batch", "r")[0] == 1
    assert problems(capsys, "--batch", "r") == [("r", "step_1000", "(all)", "missing")]


def test_cells_of_ours_count_as_they_say_and_runs_are_told_apart(here: Path, capsys: Out) -> None:
    a, b = "20260101-100000-aaaa", "20260102-100000-bbbb"
    reason = "412 of 1319 requests failed"
    for name, run in (("lr1e-5", a), ("lr5e-5", b)):
        for step in (500, 1000):
            cell(here / "runs" / name / run / "eval" / f"checkpoint-{step}", step / 100)
    bad = here / "runs/lr5e-5" / b / "eval/checkpoint-1000"
    cell(bad, 7.5, state="invalid", reason=reason)
    write(bad / "metrics.json", metrics(7.5))  # all benchmarks in one, as a task leaves it
    (here / "runs/lr5e-5/latest").symlink_to(b)
    code, rows = collected("--batch", "runs")
    out = capsys.readouterr().out
    assert [(r["run"], r["checkpoint"], r[SCORE]) for r in rows] == [
        ("lr1e-5", "checkpoint-500", "5.0"), ("lr1e-5", "checkpoint-1000", "10.0"),
        ("lr5e-5", "checkpoint-500", "5.0"), ("lr5e-5", "checkpoint-1000", ""),
    ]  # fmt: skip
    assert code == 1
    assert f"  lr5e-5 checkpoint-1000 x gsm8k: invalid: {reason}" in out.splitlines()
    assert "7.5" not in (here / "out.csv").read_text()
    assert f"note: links that add nothing: runs/lr5e-5/latest -> {here / 'runs/lr5e-5' / b}" in out
    # A second run of the same name does not hide the first.
    cell(here / "runs/lr1e-5" / b / "eval/checkpoint-500", 99.0)
    _, rows = collected("--batch", "runs")
    assert {r["run"] for r in rows} == {f"lr1e-5/{a}", f"lr1e-5/{b}", "lr5e-5"}
    assert {r[SCORE] for r in rows if r["checkpoint"] == "checkpoint-500"} == {"5.0", "99.0"}


@pytest.mark.parametrize(
    ("state", "score"),
    [
        ("ok", "50.0"),
        ("invalid", ""),
        ("failed", ""),
        ("running", ""),
        ("answered", ""),
        ("missing", ""),
    ],
)
def test_a_cell_without_its_runs_manifest_is_what_its_record_says(
    here: Path, capsys: Out, state: str, score: str
) -> None:
    cell(here / "r" / "checkpoint-5", 50.0, state=state)
    cell(here / "r" / "checkpoint-5", 60.0, "mmlu")
    code, (row,) = collected("--batch", "r")
    assert (row.get(SCORE, ""), row["mmlu/pass@1/symbolic_correct"]) == (score, "60.0")
    assert code == (0 if state == "ok" else 1)
    wrong = [] if state == "ok" else [("r", "checkpoint-5", "gsm8k", state)]
    assert problems(capsys, "--batch", "r") == wrong


def run_of_ours(folder: Path, name: str, *done: str) -> RunPaths:
    """A run of checkpoints 4, 8 and 10 x gsm8k, of which these are evaluated."""
    run = planned(folder / "tmp", make_spec(benchmarks=["gsm8k"]), {}, "local")
    target = folder / "runs" / name / run.run_id
    target.parent.mkdir(parents=True)
    run.root.rename(target)
    run = RunPaths(target)
    for checkpoint in done:
        write(run.cell(checkpoint, "gsm8k").metrics, metrics(50.0))
        write_task(run.cell(checkpoint, "gsm8k"), TaskRecord(state="ok"))
    return run


def test_every_planned_cell_of_a_run_of_ours_is_shown_as_the_run_itself_shows_it(
    here: Path, capsys: Out
) -> None:
    first = run_of_ours(here, "a", "checkpoint-4", "checkpoint-8", "checkpoint-10")
    code, rows = collected("--batch", "runs")
    assert (code, [(r["run"], r["step"]) for r in rows]) == (
        0,
        [("a", s) for s in ("4", "8", "10")],
    )
    second = run_of_ours(here, "b", "checkpoint-4")
    write(second.cell("checkpoint-8", "gsm8k").metrics, metrics(7.0))
    write_task(second.cell("checkpoint-8", "gsm8k"), TaskRecord(state="failed", reason="it broke"))
    code, rows = collected("--batch", "runs")
    assert [r[SCORE] for r in rows] == ["50.0"] * 4 + [""] * 2
    assert code == 1
    shown = problems(capsys, "--batch", "runs")
    alone = problems(capsys, str(second.root))
    assert [p[1:] for p in shown] == [p[1:] for p in alone]
    assert shown[0] == ("b", "checkpoint-8", "gsm8k", "failed") and len(shown) == 2
    assert not first.results_csv.exists(), "a batch writes into no run"


def test_a_run_whose_manifest_is_damaged_is_named_and_its_cells_are_read(
    here: Path, capsys: Out
) -> None:
    run = run_of_ours(here, "a", "checkpoint-4")
    run.manifest.write_text("{")
    code, rows = collected("--batch", "runs")
    assert (code, [r[SCORE] for r in rows]) == (1, ["50.0"])
    assert ("a", "(all)", "(all)", "invalid") in problems(capsys, "--batch", "runs")


def test_answers_without_metrics_are_named(here: Path, capsys: Out) -> None:
    ns(here / "r" / "step_5", 1.0)
    ns(here / "r" / "step_5", 1.0, "arena-hard")
    results = here / "r" / "step_5" / "eval-results"
    write(results / "gsm8k" / "output.graded.jsonl", "{}")  # what `grade` writes
    write(here / "r" / "step_5" / "tmp-eval-results" / "arena-hard" / "output.jsonl", "{}")
    assert collected("--batch", "r")[0] == 0
    write(results / "mbpp" / "output-rs0.jsonl", "{}")
    write(here / "r" / "step_10" / "gsm8k" / "output.jsonl", "{}")
    write(here / "r" / "step_15" / "m" / "samples_sums_2026-01-01T10-00-00.0.jsonl", "{}")
    assert collected("--batch", "r")[0] == 1
    assert problems(capsys, "--batch", "r") == [
        ("r", "step_5", "mbpp", "missing"), ("r", "step_10", "gsm8k", "missing"),
        ("r", "step_15", "m", "missing"),
    ]  # fmt: skip


def test_results_of_lm_eval_and_lighteval_are_rows_of_their_checkpoints(
    here: Path, capsys: Out
) -> None:
    values = {"gsm8k": {"alias": "gsm8k", "exact_match,strict-match": 0.41,
                        "exact_match_stderr,strict-match": 0.01}}  # fmt: skip
    counts = {"gsm8k": {"original": 1319, "effective": 1319}}
    for step in (500, 1000):
        ns(here / "r" / f"checkpoint-{step}", 1.0)
        lm_eval(here / "r" / f"checkpoint-{step}", values, "/data/x", **{"n-samples": counts})
        lighteval(
            here / "r" / f"checkpoint-{step}", {"lighteval|gsm8k|5": {"extractive_match": 0.4}}
        )
    code, rows = collected("--batch", "r")
    assert [(r["run"], r["step"]) for r in rows] == [("r", "500"), ("r", "1000")]
    for row in rows:
        assert row["lm-eval.gsm8k/pass@1[strict-match]/exact_match"] == "41.0"
        assert row["lm-eval.gsm8k/pass@1[strict-match]/exact_match_stderr"] == "1.0"
        assert row["lm-eval.gsm8k/pass@1[strict-match]/num_entries"] == "1319"
        assert row["lighteval.gsm8k|5/pass@1/extractive_match"] == "40.0"
    assert code == 0
    write(here / "r" / "checkpoint-500" / "results_own.json", {"accuracy": 1})
    assert collected("--batch", "r")[0] == 1
    assert problems(capsys, "--batch", "r") == [("r", "checkpoint-500", "(all)", "not read")]


def test_one_file_of_another_program_is_one_row(here: Path, capsys: Out) -> None:
    theirs = lm_eval(here, {"t": {"acc,none": 0.5, "acc_stderr,none": float("nan")}}, "ckpt_7")
    code, (row,) = collected(str(theirs))
    assert (code, row["checkpoint"], row["step"]) == (1, "ckpt_7", "7")
    assert (row["lm-eval.t/pass@1/acc"], row["lm-eval.t/pass@1/acc_stderr"]) == ("50.0", "")
    assert "t/acc_stderr,none: nan is not a finite number" in capsys.readouterr().out
    theirs = lighteval(here, {"lighteval|gsm8k|5": {"extractive_match": 0.4}})
    code, (row,) = collected(str(theirs), "--model", "it")
    assert (code, row["checkpoint"]) == (0, "it")
    assert row["lighteval.gsm8k|5/pass@1/extractive_match"] == "40.0"


ODD: dict[str, Any] = {
    "text": "yes", "none": None, "no": False, "big": 2**60 + 1, "list": [1, 2, 3], "pair": [1.5, 2],
    "deep": {"a": {"b": 7}}, "empty": {}, "score": 41.5,
}  # fmt: skip


@pytest.mark.parametrize("batch", [True, False])
def test_a_value_that_is_no_number_is_named_and_its_neighbours_stay(
    here: Path, capsys: Out, batch: bool
) -> None:
    nan = {"avg": 0.3, "std": float("nan"), "all": [1, float("-inf")]}
    values = metrics(41.0) | {"ifeval": {"pass@1": {"x": 30.0}, "pass@1[avg-of-1]": {"stats": nan}}}
    file = write(here / "r" / "step_5" / "metrics.json", values | {"human-eval": {"pass@1": ODD}})
    code, (row,) = collected(*(["--batch", "r"] if batch else [str(file)]))
    out = capsys.readouterr().out
    assert (row[SCORE], row["ifeval/pass@1/x"]) == ("41.0", "30.0")
    assert row["ifeval/pass@1[avg-of-1]/stats/avg"] == "0.3"
    assert row["ifeval/pass@1[avg-of-1]/stats/all_low"] == "1"
    assert row["ifeval/pass@1[avg-of-1]/stats/std"] == ""
    found = {k.removeprefix("human-eval/pass@1/"): v for k, v in row.items() if "human-eval" in k}
    assert found == {
        "text": "yes", "none": "", "no": "false", "big": str(2**60 + 1), "score": "41.5",
        "list_0": "1", "list_1": "2", "list_2": "3", "pair_low": "1.5", "pair_high": "2",
        "deep/a/b": "7",
    }  # fmt: skip
    assert code == 1
    for place, value in (("std", "nan"), ("all", "-inf")):
        assert f"ifeval/pass@1[avg-of-1]/stats/{place}: {value} is not a finite number" in out


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", '{"gsm8k": {}}', '{"loss": 1.5}', "\0\0"],
    ids=["empty", "list", "null", "torn", "nothing", "flat", "NUL"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_named_and_the_others_are_rows(
    here: Path, capsys: Out, text: str
) -> None:
    ns(here / "r" / "step_5", 1.0)
    ns(here / "r" / "step_10", 2.0, "mmlu")
    write(ns(here / "r" / "step_10", 0.0), text)
    code, rows = collected("--batch", "r")
    assert (code, [row[SCORE] for row in rows]) == (1, ["1.0", ""])
    assert rows[1]["mmlu/pass@1/symbolic_correct"] == "2.0"
    assert ("r", "step_10", "gsm8k", "invalid") in problems(capsys, "--batch", "r")


def test_a_folder_that_is_no_run_is_a_hint_to_batch(here: Path, capsys: Out) -> None:
    ns(here / "a tree" / "step_5", 1.0)
    assert command("collect", "a tree") == 2
    assert "python -m harness collect --batch 'a tree'" in capsys.readouterr().err
