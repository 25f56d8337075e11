"""Real training: two processes on CPU, a tiny Qwen3, the job as a run folder starts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("trl", reason="TRL is not installed")

from harness.compute.train.launcher import survivors
from harness.config.load import load_spec
from harness.preflight.training.output_dir import check_output
from harness.runs.checkpoints import complete_checkpoints, read_marker
from harness.runs.files import read_json
from harness.runs.paths import RunPaths
from harness.runs.tokenised import tokenised_cache

from .job_run import (
    TEMPLATE,
    finish,
    log_steps,
    make_run,
    signal_everyone,
    start,
    state,
    train,
    wait_for,
)

pytestmark = pytest.mark.long

IM_END, ENDOFTEXT = 2, 0


@pytest.fixture(scope="module")
def finished(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunPaths, str]:
    paths = make_run(tmp_path_factory.mktemp("finished run"), inputs, max_samples=40)
    code, output = train(paths)
    assert code == 0, output
    return paths, output


def test_two_processes_train_and_say_so(finished: tuple[RunPaths, str]) -> None:
    paths, output = finished
    assert "2 processes on cpu" in output
    assert "training is complete at step 4 of 4" in output
    assert state(paths)["state"] == "complete"
    assert (state(paths)["step"], state(paths)["max_steps"]) == (4, 4)
    assert survivors(state(paths)["attempt"]) == []


def test_rows_are_capped_by_a_seeded_shuffle_that_is_logged(finished: tuple[RunPaths, str]) -> None:
    assert "tokenising 40 of 64 rows" in finished[1]
    assert "shuffled with seed 42" in finished[1]


def test_every_planned_checkpoint_is_marked(finished: tuple[RunPaths, str]) -> None:
    checkpoints = complete_checkpoints(finished[0].checkpoints)
    assert list(checkpoints) == [2, 4]
    for step, path in checkpoints.items():
        marker = read_marker(path)
        assert marker is not None
        assert marker["world_size"] == 2
        assert (marker["step"], marker["max_steps"], marker["planned"]) == (step, 4, True)
        assert (path / "rng_state_1.pth").is_file()


def test_colleagues_may_read_the_weights(finished: tuple[RunPaths, str]) -> None:
    for path in complete_checkpoints(finished[0].checkpoints).values():
        assert (path / "model.safetensors").stat().st_mode == (path / "config.json").stat().st_mode


def test_a_marker_tells_the_configuration_to_the_check(finished: tuple[RunPaths, str]) -> None:
    paths, _ = finished
    there = load_spec(paths.spec).train.model_copy(
        update={"output_dir": str(paths.checkpoints), "chat_template_path": str(TEMPLATE)}
    )
    (same,) = check_output(there, 4)
    assert (same.level, "nothing is left to train" in same.message) == ("warning", True)
    (other,) = check_output(there.model_copy(update={"learning_rate": 1.0}), 4)
    assert "learning_rate: 2e-05 -> 1.0" in other.message
    assert other.message.count("->") == 1


def test_every_checkpoint_stops_at_the_templates_end_token(finished: tuple[RunPaths, str]) -> None:
    for path in complete_checkpoints(finished[0].checkpoints).values():
        generation = read_json(path / "generation_config.json")
        assert generation["eos_token_id"] == [IM_END, ENDOFTEXT]
        assert not generation.get("_from_model_config", False)


def test_the_trained_template_is_the_saved_one(finished: tuple[RunPaths, str]) -> None:
    for path in complete_checkpoints(finished[0].checkpoints).values():
        saved = (path / "chat_template.jinja").read_text(encoding="utf-8")
        assert saved.rstrip("\n") == TEMPLATE.read_text(encoding="utf-8").rstrip("\n")


def test_the_log_has_a_line_for_each_logged_step(finished: tuple[RunPaths, str]) -> None:
    lines = [json.loads(line) for line in finished[0].train_log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    for line in lines:
        assert 3 < line["loss"] < 10
        assert line["tokens_per_second"] > 0
        assert line["peak_memory_gb"] > 0
    assert "step 4/4  loss " in finished[1]


def test_a_failed_release_is_a_warning(finished: tuple[RunPaths, str]) -> None:
    assert "warning: checkpoint-2 could not be released early" in finished[1]  # no manifest here


def test_the_users_dataset_stays_as_it_was(finished: tuple[RunPaths, str], inputs: Path) -> None:
    assert list((inputs / "data").rglob("cache-*")) == []
    (tokenised,) = tokenised_cache(finished[0]).glob("[0-9a-f]*/facts.json")
    assert not list(tokenised.parent.rglob("cache-*"))


def test_a_finished_run_is_left_as_it_is(finished: tuple[RunPaths, str]) -> None:
    paths, _ = finished
    before = (paths.checkpoints / "checkpoint-4" / "model.safetensors").stat().st_mtime_ns
    code, output = train(paths)
    assert code == 0, output
    assert "nothing is left to train" in output
    assert state(paths)["state"] == "complete"
    assert (paths.checkpoints / "checkpoint-4" / "model.safetensors").stat().st_mtime_ns == before
    assert sorted(complete_checkpoints(paths.checkpoints)) == [2, 4]


@pytest.fixture(scope="module")
def preempted(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunPaths, str]:
    """A run told to stop by USR2, as Slurm does before the time limit."""
    paths = make_run(tmp_path_factory.mktemp("preempted"), inputs, max_steps=120, save_steps=50)
    job = start(paths)
    wait_for(lambda: paths.train_log.is_file() and len(log_steps(paths)) >= 3, job)
    signal_everyone(job, signal.SIGUSR2)
    code, output = finish(job)
    assert code == 0, output
    return paths, output


def test_usr2_saves_once_and_ends_as_preempted(preempted: tuple[RunPaths, str]) -> None:
    paths, output = preempted
    assert output.rstrip().endswith("preempted")
    assert state(paths)["state"] == "preempted"
    step = state(paths)["step"]
    assert 3 <= step < 120
    checkpoint = complete_checkpoints(paths.checkpoints)[step]
    marker = read_marker(checkpoint)
    assert marker is not None
    assert marker["planned"] is (step % 50 == 0)


def test_another_batch_size_is_refused_with_the_cure(
    preempted: tuple[RunPaths, str], inputs: Path, tmp_path: Path
) -> None:
    copy = RunPaths(tmp_path / "tiny" / "20260101-000000-abcd")
    shutil.copytree(preempted[0].root, copy.root, symlinks=True)
    make_run(tmp_path, inputs, max_steps=120, save_steps=50, per_device_train_batch_size=4)
    code, output = train(copy)
    assert code == 1
    assert "per_device_train_batch_size was 2, is now 4" in output
    assert "start a new run" in output
    assert state(copy)["state"] == "failed"


def test_training_goes_on_from_the_marked_checkpoint(
    preempted: tuple[RunPaths, str], tmp_path: Path
) -> None:
    paths = RunPaths(tmp_path / "tiny" / "20260101-000000-abcd")
    shutil.copytree(preempted[0].root, paths.root, symlinks=True)
    step = state(paths)["step"]
    half = paths.checkpoints / "checkpoint-119"
    shutil.copytree(paths.checkpoints / f"checkpoint-{step}", half)
    (half / "HARNESS_COMPLETE.json").unlink()
    code, output = train(paths)
    assert code == 0, output
    assert f"going on from checkpoint-{step}" in output
    assert "set aside an incomplete checkpoint: checkpoint-119.incomplete-" in output
    assert not half.exists()
    assert len(list(paths.checkpoints.glob("checkpoint-119.incomplete-*"))) == 1
    assert state(paths)["state"] == "complete"
    assert log_steps(paths) == list(range(1, 121))
    assert {50, 100, 120} <= set(complete_checkpoints(paths.checkpoints))


def test_a_signal_before_the_workers_are_ready_is_not_lost(inputs: Path, tmp_path: Path) -> None:
    paths = make_run(tmp_path, inputs, max_steps=500, save_steps=500)
    job = start(paths)
    wait_for(lambda: paths.train_state.is_file(), job)
    time.sleep(1)  # the launcher runs, its workers are not there yet
    job.send_signal(signal.SIGUSR2)
    code, output = finish(job)
    assert code == 0, output
    # Told while rows are tokenised, it ends before the first step.
    assert state(paths)["state"] == "preempted"
    assert state(paths)["step"] in (0, 1)


def test_term_to_everyone_saves_too(inputs: Path, tmp_path: Path) -> None:
    paths = make_run(tmp_path, inputs, max_steps=5000, save_steps=5000)
    job = start(paths)
    wait_for(lambda: paths.train_log.is_file(), job)
    signal_everyone(job, signal.SIGTERM)
    code, output = finish(job)
    assert code == 0, output
    assert state(paths)["state"] == "preempted"
    assert list(complete_checkpoints(paths.checkpoints)) == [state(paths)["step"]]


def test_a_missing_dataset_is_named(inputs: Path, tmp_path: Path) -> None:
    paths = make_run(tmp_path, inputs, dataset_name="/no/such/data")
    code, output = train(paths)
    assert code == 1
    assert "dataset_name: /no/such/data: no such folder" in output
    assert state(paths)["state"] == "failed"
    assert "no such folder" in state(paths)["error"]


def test_a_missing_gpu_is_an_error_and_never_training_on_cpu(inputs: Path, tmp_path: Path) -> None:
    paths = make_run(tmp_path, inputs, use_cpu=False, gpus_per_node=1)
    code, output = train(paths, CUDA_VISIBLE_DEVICES="")
    assert code == 1
    assert "use_cpu: no GPU is visible" in output
    assert state(paths)["state"] == "failed"
    assert not list(paths.root.rglob("checkpoint-*"))


def test_a_killed_launcher_leaves_no_worker(inputs: Path, tmp_path: Path) -> None:
    paths = make_run(tmp_path, inputs, max_steps=5000, save_steps=5000)
    job = start(paths)
    wait_for(lambda: paths.train_log.is_file(), job)
    attempt = state(paths)["attempt"]
    (launcher,) = psutil.Process(job.pid).children()
    assert len(survivors(attempt)) >= 3
    launcher.kill()
    code, output = finish(job)
    assert code == 1, output
    assert survivors(attempt) == []
    assert state(paths)["state"] == "failed"
    assert "the launcher exited -9" in output


def test_a_training_that_has_ended_takes_nothing_apart(inputs: Path, tmp_path: Path) -> None:
    """Its destructors may wait for each other for ever (trainer.py, _ENDED)."""
    torn = tmp_path / "torn"
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, os, sys\n"
        f"atexit.register(lambda: print(*sys.orig_argv, file=open({str(torn)!r}, 'a')))\n"
    )
    paths = make_run(tmp_path, inputs, max_steps=1)
    code, output = train(paths, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    assert (code, state(paths)["state"]) == (0, "complete"), output
    ended = torn.read_text()
    assert "harness.compute.train.job" in ended
    assert "-u -m harness.compute.train.sft" not in ended  # a worker, not its launcher
