"""The training log as a picture: restarts, values that are no numbers, checkpoints."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.plan.facts import RunFacts
from harness.results.collect import _plot_training, cells_table, headlines
from harness.results.table import csv_text, long_csv_text
from harness.results.training_curve import (
    _validation,
    plot_training,
    read_log,
    restarts,
    running_mean,
    series,
)
from harness.runs.paths import RunPaths
from tests.plan.test_plan import make_spec
from tests.scheduling.test_cells import planned


def entry(step: int, **fields: Any) -> dict[str, Any]:
    return {"step": step, "loss": 2.0 / step, "grad_norm": 1.0, "learning_rate": 1e-5,
            "tokens_per_second": 100.0, "mfu": None, "attempt": "a"} | fields  # fmt: skip


def test_a_line_cut_off_by_an_interruption_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    lines = [json.dumps(entry(1)), "[]", '{"loss": 1}', json.dumps(entry(2)), '{"step": 3, "lo']
    log.write_text("\n".join(lines))
    assert [e["step"] for e in read_log(log)] == [1, 2]


def test_words_for_nan_break_the_line_and_are_counted() -> None:
    entries = [entry(1), entry(2, loss="nan"), entry(3, loss="inf"), entry(4, loss=None)]
    steps, values, broken = series(entries, "loss")
    assert steps == [1, 2, 3]
    assert values[0] == 2.0 and all(math.isnan(v) for v in values[1:])
    assert broken == [2, 3]


def test_restarts_are_where_the_attempt_changes() -> None:
    entries = [entry(1), entry(2), entry(3, attempt="b"), entry(4, attempt="b"), entry(5)]
    assert restarts(entries) == [3, 5]
    assert restarts([{"step": 1}, {"step": 2}]) == []


def test_the_running_mean_passes_over_nan() -> None:
    assert running_mean([1.0, math.nan, 3.0, 5.0], 2) == [1.0, 1.0, 2.0, 4.0]
    assert math.isnan(running_mean([math.nan], 2)[0])


@pytest.mark.parametrize(
    "entries",
    [
        [entry(1)],
        [entry(s, loss="nan", grad_norm="inf", tokens_per_second=None) for s in (1, 2)],
        [entry(s, mfu=0.4, attempt=str(s // 100)) for s in range(1, 300)],
        [{"step": 0}],
    ],
)
def test_any_log_gives_a_picture(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `report`")
    title = "run_$x^2 $ of <me>, $\\frac{ no formula"
    plot_training(entries, [1, 2], title, tmp_path / "new" / "train.png")
    data = (tmp_path / "new" / "train.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_collect_draws_it_into_the_run_folder(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra `report`")
    run = RunPaths(tmp_path / "r" / "20260101-000000-abcd")
    run.train.mkdir(parents=True)
    spec = {"name": "r", "train": {"model_name": "m", "dataset_name": "d"}}
    run.spec.write_text(yaml.safe_dump(spec))
    _plot_training(RunFacts(run))  # nothing was trained yet
    assert not run.train_plot.exists()
    run.train_log.write_text(json.dumps(entry(1)) + "\n")
    _plot_training(RunFacts(run))
    assert run.train_plot == run.root / "train.png"
    assert run.train_plot.read_bytes().startswith(b"\x89PNG")


def test_the_validation_loss_is_a_column_beside_the_scores(tmp_path: Path) -> None:
    asked = make_spec({"eval_split": "held-out"}, benchmarks=["gsm8k"])
    run = planned(tmp_path, asked, {})
    lines = [
        entry(4),
        {"step": 4, "eval_loss": 1.5, "attempt": "a"},
        {"step": 4, "eval_loss": 1.25, "attempt": "b"},
        {"step": 8, "eval_loss": "nan"},
        entry(10),
    ]
    run.train.mkdir(parents=True, exist_ok=True)
    run.train_log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    table = cells_table(RunFacts(run), [], "")
    assert table.columns == ["validation/held-out/eval_loss"]
    assert headlines(table) == table.columns
    assert [list(row.values.values()) for row in table.rows] == [[1.25], [], []]
    assert csv_text(table).splitlines()[1].endswith("checkpoint-4,4,1.25")
    assert ",validation,held-out,eval_loss,1.25," in long_csv_text(table)
    without = cells_table(RunFacts(planned(tmp_path / "other", make_spec(), {})), [], "")
    assert without.columns == []


def test_the_validation_loss_is_drawn(tmp_path: Path) -> None:
    figure = pytest.importorskip("matplotlib.figure", reason="needs the extra `report`").Figure()
    axes = figure.subplots()
    _validation(axes, [entry(1), {"step": 2, "eval_loss": 1.5}, {"step": 4, "eval_loss": 1.25}])
    (line,) = axes.get_lines()
    assert [list(map(float, line.get_xdata())), list(line.get_ydata())] == [[2, 4], [1.5, 1.25]]
    assert line.get_label() == "validation loss"
