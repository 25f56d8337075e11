"""How training goes, written down: whole lines, true states, numbers that are known or left out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers", reason="transformers is not installed")

import torch

from harness.compute.train import run_log as module
from harness.compute.train.run_log import RunLog, _drop_steps_after, _finite, check_ours, log_line
from harness.errors import TrainingSuperseded, UserError
from harness.runs.train_state import TrainState, read_state, write_state


def test_log_lines_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    _drop_steps_after(log, 2)
    assert log.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_a_loss_that_is_no_number_stays_visible() -> None:
    assert _finite(float("nan")) == "nan"
    assert _finite(1.5) == 1.5


def test_progress_is_one_line() -> None:
    entry = {"step": 20, "loss": 1.2345, "grad_norm": "nan", "learning_rate": 2e-5,
             "steps_per_second": 0.5, "tokens_per_second": 12345.6, "peak_memory_gb": 12.3,
             "remaining_seconds": 3661}  # fmt: skip
    assert log_line(entry, 100) == (
        "step 20/100  loss 1.234  grad nan  lr 2e-05  0.5 steps/s  12,346 tokens/s  12.30 GB"
        "  1:01:01 left"
    )


def test_a_start_that_is_superseded_gives_up_and_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    state: Any = SimpleNamespace(global_step=0, max_steps=9, is_world_process_zero=True)
    args: Any = None
    log = RunLog(tmp_path / "log.jsonl", file, "slurm-7-0")
    log.on_train_begin(args, state, args)
    theirs = TrainState("running", attempt="slurm-7-1")
    write_state(file, theirs)
    saving: Any = SimpleNamespace(should_save=True)
    state.global_step = 1
    with pytest.raises(TrainingSuperseded, match="slurm-7-1 trains this run now"):
        log.on_step_end(args, state, saving)
    with pytest.raises(TrainingSuperseded):
        log.finish(state, preempted=True)
    assert read_state(file) == theirs


ME = "slurm-7-1"
ARGS: Any = SimpleNamespace(device=torch.device("cpu"), world_size=1, max_length=64)


def at(step: int, max_steps: int = 10, first: bool = True) -> Any:
    return SimpleNamespace(
        global_step=step, max_steps=max_steps, epoch=step / 10, is_world_process_zero=first
    )


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    return RunLog(tmp_path / "train" / "log.jsonl", tmp_path / "train" / "state.json", ME)


def lines(log: RunLog) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log._log.read_text().splitlines()]


def written(log: RunLog) -> TrainState:
    state = read_state(log._state_file)
    assert state is not None
    return state


def test_a_logged_step_is_a_line_in_the_file_and_one_on_the_screen(
    log: RunLog, capsys: pytest.CaptureFixture[str]
) -> None:
    log.on_train_begin(ARGS, at(0), ARGS)
    logs = {"loss": 2.5, "learning_rate": 1e-5, "num_tokens": 400.0}
    log.on_log(ARGS, at(2), ARGS, logs)
    (entry,) = lines(log)
    assert (entry["step"], entry["loss"], entry["tokens"], entry["attempt"]) == (2, 2.5, 400, ME)
    assert entry["grad_norm"] is None and entry["mfu"] is None  # not known, not zero
    assert entry["remaining_seconds"] >= 0
    # The trackers see the speed, and nothing that is not known.
    assert logs["tokens_per_second"] == entry["tokens_per_second"] > 0
    assert "mfu" not in logs
    assert capsys.readouterr().out.startswith("step 2/10  loss 2.5  lr 1e-05  ")


def test_other_logs_and_other_ranks_write_nothing(log: RunLog) -> None:
    log.on_train_begin(ARGS, at(0, first=False), ARGS)
    log.on_log(ARGS, at(1, first=False), ARGS, {"loss": 1.0})
    log.on_log(ARGS, at(1, first=False), ARGS, {"eval_loss": 1.0})
    log.on_log(ARGS, at(1), ARGS, {"train_runtime": 1.0})
    log.on_log(ARGS, at(1), ARGS, None)
    log.on_save(ARGS, at(1, first=False), ARGS)
    assert not log._log.parent.exists()


def test_the_validation_loss_has_a_line_of_its_own_and_its_time_is_none_of_the_steps(
    log: RunLog, capsys: pytest.CaptureFixture[str]
) -> None:
    log.on_train_begin(ARGS, at(0), ARGS)
    log._last_time -= 11.0
    log.on_log(ARGS, at(1), ARGS, {"eval_loss": 1.25, "eval_runtime": 10.0})
    log.on_log(ARGS, at(1), ARGS, {"eval_loss": float("nan"), "eval_runtime": 0.0})
    log.on_log(ARGS, at(1), ARGS, {"loss": 2.5})
    first, diverged, step = map(json.loads, log._log.read_text().splitlines())
    assert (first["step"], first["eval_loss"], first["eval_seconds"]) == (1, 1.25, 10.0)
    assert "loss" not in first and diverged["eval_loss"] == "nan"
    assert step["steps_per_second"] == pytest.approx(1.0, rel=0.2)
    assert "step 1/10  validation loss 1.25  (10.0 s)" in capsys.readouterr().out


def test_a_diverged_loss_stays_valid_json_and_is_no_number(log: RunLog) -> None:
    log.on_train_begin(ARGS, at(0), ARGS)
    log.on_log(ARGS, at(1), ARGS, {"loss": math.nan, "grad_norm": math.inf})
    assert (lines(log)[0]["loss"], lines(log)[0]["grad_norm"]) == ("nan", "inf")
    assert lines(log)[0]["tokens"] is None and lines(log)[0]["tokens_per_second"] is None


def test_after_a_restart_tokens_go_on_from_the_checkpoint(log: RunLog) -> None:
    log.on_train_begin(ARGS, at(0), ARGS)
    for step in (1, 2, 3):
        log.on_log(ARGS, at(step), ARGS, {"loss": 1.0, "num_tokens": 100.0 * step})
    again = RunLog(log._log, log._state_file, ME)
    again.on_train_begin(ARGS, at(2), ARGS)
    again.on_log(ARGS, at(3), ARGS, {"loss": 1.0, "num_tokens": 100.0})
    assert [(entry["step"], entry["tokens"]) for entry in lines(log)] == [
        (1, 100), (2, 200), (3, 300),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0.0),
        ('{"step": 1}\n', 0.0),  # no line says
        ('{"step": 1, "tokens": 5}\n{"step": 2, "tokens": null}\n', 5.0),
        ('{"step": 1, "tokens": 5}\n{"step": 3, "tokens": 9}\n', 5.0),
        ('[1]\n{"steps": 1}\n{"step": "x"}\n\n{"step": 2, "tokens": 7}\n', 7.0),
    ],
)
def test_tokens_up_to_the_checkpoint_are_what_its_last_line_says(
    tmp_path: Path, text: str, tokens: float
) -> None:
    (tmp_path / "log.jsonl").write_text(text)
    assert _drop_steps_after(tmp_path / "log.jsonl", 2) == tokens
    assert _drop_steps_after(tmp_path / "none.jsonl", 2) == 0.0
    assert not (tmp_path / "none.jsonl").exists()


def test_the_state_follows_training_to_its_end(log: RunLog) -> None:
    log.on_train_begin(ARGS, at(0), ARGS)
    assert (written(log).state, written(log).step, written(log).max_steps) == ("running", 0, 10)
    log.on_save(ARGS, at(5), ARGS)
    assert (written(log).state, written(log).step, written(log).attempt) == ("running", 5, ME)
    log.finish(at(6), preempted=True)
    assert (written(log).state, written(log).step) == ("preempted", 6)
    log.finish(at(10), preempted=True)  # a stop at the very end interrupts nothing
    assert (written(log).state, written(log).step) == ("complete", 10)


def test_an_end_that_nobody_asked_for_is_an_error_and_no_result(log: RunLog) -> None:
    log.on_train_begin(ARGS, at(0), ARGS)
    with pytest.raises(RuntimeError, match="training ended at step 6 of 10"):
        log.finish(at(6), preempted=False)
    assert written(log).state == "running"


def test_steps_between_are_written_now_and_then(
    log: RunLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_save: Any = SimpleNamespace(should_save=False)
    log.on_train_begin(ARGS, at(0), ARGS)
    log.on_step_end(ARGS, at(1), no_save)
    assert written(log).step == 0
    monkeypatch.setattr(module, "_STATE_S", 0.0)
    log.on_step_end(ARGS, at(2), no_save)
    assert written(log).step == 2


@pytest.mark.parametrize("step", [10, 11])
def test_a_checkpoint_past_the_steps_asked_for_is_told_with_the_cure(
    log: RunLog, step: int
) -> None:
    with pytest.raises(UserError) as caught:
        log.on_train_begin(ARGS, at(step), ARGS)
    assert str(caught.value) == (
        f"nothing is left to train: checkpoint-{step} is at or past the 10 steps asked for; "
        "raise max_steps or num_train_epochs"
    )
    assert not log._state_file.exists()


def test_a_state_of_our_own_or_none_is_no_other_start(tmp_path: Path) -> None:
    check_ours(tmp_path / "state.json", ME)
    write_state(tmp_path / "state.json", TrainState("running", attempt=ME))
    check_ours(tmp_path / "state.json", ME)
    with pytest.raises(TrainingSuperseded, match=rf"{ME} trains .*this start \(other\) gives up"):
        check_ours(tmp_path / "state.json", "other")


def test_a_line_leaves_out_what_is_not_known_and_shows_zero(log: RunLog) -> None:
    entry = dict.fromkeys(
        ("loss", "grad_norm", "learning_rate", "tokens_per_second", "mfu", "peak_memory_gb",
         "remaining_seconds")
    )  # fmt: skip
    assert log_line({**entry, "step": 1, "steps_per_second": 0.0}, 9) == "step 1/9  0 steps/s"
    known = {"loss": 0.0, "learning_rate": 0.0, "mfu": 0.414, "remaining_seconds": 0}
    assert log_line({**entry, **known, "step": 9, "steps_per_second": 2}, 9) == (
        "step 9/9  loss 0  lr 0  2 steps/s  41 % MFU  0:00:00 left"
    )
