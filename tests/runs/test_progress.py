"""What the run folder tells of training."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from harness.errors import ResultError
from harness.runs.files import write_json, write_text
from harness.runs.paths import RunPaths
from harness.runs.progress import progress_line, read_progress

NOW = datetime(2026, 1, 1, 12, 0, 30, tzinfo=timezone.utc)


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    paths = RunPaths(tmp_path / "run" / "20260101-000000-aaaa")
    write_json(paths.train_state, {"state": "failed", "step": 0, "max_steps": 9, "error": "died\nx",
                                   "updated": "2026-01-01T12:00:00Z"})  # fmt: skip
    return paths


def test_a_crash_is_told_with_the_last_logged_step(run: RunPaths) -> None:
    write_text(
        run.train_log, '{"step": 3, "loss": 2.5}\n{"step": 4, "loss": 1.25}\n{"step": 5, "lo'
    )
    line = progress_line(read_progress(run), NOW)
    assert line == "failed  step 4/9  loss 1.25  updated 30 s ago  died"


def test_without_a_log_the_state_is_all(run: RunPaths) -> None:
    assert progress_line(read_progress(run), NOW).startswith("failed  step 0/9  updated")
    run.train_state.unlink()
    assert read_progress(run) == {}


def test_an_unreadable_state_is_an_error(run: RunPaths) -> None:
    write_text(run.train_state, "{")
    with pytest.raises(ResultError, match="cannot be read as JSON"):
        read_progress(run)


@pytest.mark.parametrize("text", ["[]", "null", "5"])
def test_a_state_that_is_no_mapping_is_an_error_with_its_file(run: RunPaths, text: str) -> None:
    write_text(run.train_state, text)
    with pytest.raises(ResultError, match=r"state\.json: a mapping is expected"):
        read_progress(run)


def test_values_of_another_kind_are_shown_or_left_out_and_are_no_traceback(run: RunPaths) -> None:
    write_text(run.train_state, '{"state": "running", "step": "x", "max_steps": [], "updated": 5}')
    write_text(run.train_log, '{"step": null, "loss": [1], "steps_per_second": "fast", '
                              '"remaining_seconds": Infinity}\n')  # fmt: skip
    line = progress_line(read_progress(run), NOW)
    assert line == "running  step 0/[]  loss [1]"
    write_text(run.train_log, "[1]\n")
    assert progress_line(read_progress(run), NOW) == "running  step 0/[]"


def test_the_loss_of_the_validation_split_stands_beside_that_of_training(run: RunPaths) -> None:
    lines = [
        {"step": 4, "loss": 1.5, "steps_per_second": 2.0},
        {"step": 4, "eval_loss": 1.25, "eval_seconds": 3.0},
        {"step": 6, "loss": 1.4, "steps_per_second": 2.0},
    ]
    run.train_log.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"step": 7, "e')
    told = read_progress(run)
    assert (told["loss"], told["eval_loss"], told["eval_step"]) == (1.4, 1.25, 4)
    assert "loss 1.4  validation loss 1.25 at 4" in progress_line(told, datetime.now(timezone.utc))
    run.train_log.write_text("".join(f"{json.dumps(line)}\n" for line in lines[:2]))
    assert read_progress(run)["loss"] == 1.5
