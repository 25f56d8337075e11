"""Trackers: their real packages, through a real job; what they write lies in the run folder."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="TRL is not installed")

from harness.compute.train.arguments import parse
from harness.compute.train.trackers import prepare_trackers
from harness.config.training.trackers import TRACKERS, missing_packages
from harness.errors import UserError
from harness.runs.paths import RunPaths
from tests.compute.train.job_run import PROJECT, make_run, state, train
from tests.tiny_model import make_tiny_dataset, make_tiny_model

NEEDED = ["--model_name", "m", "--dataset_name", "d", "--use_cpu"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    make_tiny_model(folder / "model")
    make_tiny_dataset(folder / "data", 64, split="train")
    return folder


def trained(folder: Path, inputs: Path, tracker: str, **env: str) -> tuple[RunPaths, str]:
    """A run that reports to a tracker; nothing may have been written beside the run folder."""
    paths = make_run(folder, inputs, report_to=tracker, max_steps=3, save_steps=3)
    home = folder / "home"
    home.mkdir()
    before = sorted(p.name for p in PROJECT.iterdir())
    code, output = train(paths, HOME=str(home), WANDB_MODE="offline", **env)
    assert code == 0, output
    assert state(paths)["state"] == "complete"
    assert sorted(p.name for p in PROJECT.iterdir()) == before
    return paths, output


def log_lines(paths: RunPaths) -> list[dict[str, Any]]:
    return [json.loads(line) for line in paths.train_log.read_text().splitlines()]


@pytest.mark.slow
def test_tensorboard_has_every_step_as_real_event_files(inputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    paths, _ = trained(tmp_path, inputs, "tensorboard")
    events = EventAccumulator(str(paths.train / "tensorboard")).Reload()
    logged = log_lines(paths)
    for ours, theirs in (("loss", "loss"), ("grad_norm", "grad_norm"),
                         ("tokens_per_second", "tokens_per_second"),
                         ("peak_memory_gb", "peak_memory_gb")):  # fmt: skip
        scalars = events.Scalars(f"train/{theirs}")
        assert [s.step for s in scalars] == [1, 2, 3]
        assert [s.value for s in scalars] == pytest.approx([line[ours] for line in logged])
    assert "train/mfu" not in events.Tags()["scalars"]  # not known on CPU, so not reported


def test_wandb_offline_keeps_its_run_in_the_run_folder(inputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="needs the extra `wandb`")
    paths, _ = trained(tmp_path, inputs, "wandb")
    (run,) = (paths.train / "wandb").glob("offline-run-*")
    identity = f"{paths.name}-{paths.run_id}"
    (record,) = run.glob("*.wandb")
    assert record.name == f"run-{identity}.wandb"  # a restarted job joins the same run
    assert b"tokens_per_second" in record.read_bytes()


def test_mlflow_keeps_its_database_in_the_run_folder(inputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="needs the extra `mlflow`")
    pytest.importorskip("sqlalchemy", reason="mlflow-skinny cannot write a database")
    paths, _ = trained(tmp_path, inputs, "mlflow")
    with sqlite3.connect(paths.train / "mlflow.db") as database:
        found = database.execute("select step, value from metrics where key='loss' order by step")
        rows = found.fetchall()
    assert [row[0] for row in rows] == [1, 2, 3]
    assert [row[1] for row in rows] == pytest.approx([line["loss"] for line in log_lines(paths)])


def test_trackio_keeps_its_database_in_the_run_folder(inputs: Path, tmp_path: Path) -> None:
    pytest.importorskip("trackio", reason="needs the extra `trackio`")
    paths, _ = trained(tmp_path, inputs, "trackio")
    (file,) = (paths.train / "trackio").glob("*.db")
    with sqlite3.connect(file) as database:
        rows = database.execute("select metrics from metrics order by step").fetchall()
    losses = [v for (text,) in rows if (v := json.loads(text).get("train/loss")) is not None]
    assert losses == pytest.approx([line["loss"] for line in log_lines(paths)])


def test_a_missing_package_ends_training_before_a_model_loads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "swanlab" in missing_packages(["swanlab", "kubeflow"])
    _, config = parse([*NEEDED, "--report_to", "swanlab"])
    with pytest.raises(UserError, match="pip install swanlab"):
        prepare_trackers(config, tmp_path / "train")
    assert not (tmp_path / "train").exists()


def test_a_misspelt_tracker_by_hand_offers_the_nearest(tmp_path: Path) -> None:
    _, config = parse([*NEEDED, "--report_to", "wand"])
    with pytest.raises(UserError, match="did you mean 'wandb'"):
        prepare_trackers(config, tmp_path)


@pytest.mark.long
def test_a_missing_package_fails_the_job_with_the_cure(inputs: Path, tmp_path: Path) -> None:
    paths = make_run(tmp_path, inputs, report_to="swanlab")
    code, output = train(paths)
    assert code == 1
    assert "report_to: swanlab is not installed in the training environment" in output
    assert "pip install swanlab" in state(paths)["error"]
    assert not paths.train_log.exists()


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "/mine")
    _, config = parse([*NEEDED, "--report_to", "tensorboard"])
    prepare_trackers(config, tmp_path)
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == "/mine"


def test_the_record_is_that_of_the_installed_transformers() -> None:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    assert set(TRACKERS) == set(INTEGRATION_TO_CALLBACK)
