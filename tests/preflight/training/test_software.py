"""Packages that the training job will need, as far as they can be known before queueing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config.site import Environment, Site
from harness.config.training.train import TrainSpec
from harness.preflight.check import check
from harness.preflight.training import software
from harness.preflight.training.software import check_software
from tests.preflight.test_check import spec


def train(**fields: Any) -> TrainSpec:
    return TrainSpec(model_name="m", dataset_name="d", **fields)


def test_a_missing_tracker_is_a_warning_with_its_cure(tmp_path: Path) -> None:
    (found,) = check_software(train(report_to=["swanlab", "kubeflow"]), Site())
    assert (found.level, found.place) == ("warning", "train.report_to")
    assert "pip install swanlab" in found.cure
    everything = check(spec(tmp_path, report_to="swanlab"), Site(runs_dir=str(tmp_path)), "slurm")
    assert found in everything.findings


def test_without_torch_where_training_runs_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    absent = {"torch", "trl", "accelerate"}
    monkeypatch.setattr(software, "find_spec", lambda name: None if name in absent else True)
    (found,) = check_software(train(), Site())
    assert (found.level, found.place) == ("warning", "train")
    assert found.message.startswith("torch is not installed")
    assert found.cure == "pip install 'posttrain-harness[train]'"
    absent.remove("torch")
    assert check_software(train(), Site())[0].message.startswith("trl is not installed")


def test_another_environment_cannot_be_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "find_spec", lambda name: None)
    elsewhere = Site(environments={"train": Environment(activate=("source /envs/train",))})
    (found,) = check_software(train(packing=True, report_to="wandb"), elsewhere)
    assert (found.level, "not known from here" in found.message) == ("note", True)
