"""Trackers: which names there are, what they need, and that their files go to the run folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.config.training.trackers import (
    EXTRAS,
    TRACKERS,
    missing_packages,
    tracker_variables,
    unknown_tracker,
)
from tests.support import ROOT


def test_each_extra_is_a_tracker_and_an_extra_of_the_package() -> None:
    assert set(EXTRAS) <= TRACKERS.keys()
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name in EXTRAS:
        (found,) = re.findall(rf"^{name} = \[(.*)\]", text, re.MULTILINE)
        assert all(package in found for package in TRACKERS[name])


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_known_is_no_mistake(name: str) -> None:
    assert unknown_tracker(name) is None


@pytest.mark.parametrize("name", ["wand", "Wandb", "all", "none", "", 'it\'s "x"\n🙂'])
def test_another_is_quoted_on_one_line_with_those_there_are(name: str) -> None:
    told = unknown_tracker(name)
    assert told is not None
    assert told.startswith(f"{name!r} is no tracker")
    assert told.endswith(f"; known: {', '.join(TRACKERS)}")
    assert "\n" not in told


def test_what_is_installed_or_needs_nothing_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_packages(["kubeflow"]) == missing_packages([]) == {}
    monkeypatch.setitem(TRACKERS, "dvclive", ("json",))
    assert missing_packages(["dvclive"]) == {}


def test_only_the_packages_that_are_absent_are_to_be_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(TRACKERS, "dagshub", ("json", "absent_one", "absent_two"))
    assert missing_packages(["kubeflow", "dagshub"]) == {
        "dagshub": "pip install absent_one absent_two"
    }


def test_every_file_goes_below_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s a "rün"'
    found = tracker_variables(["tensorboard", "wandb", "mlflow", "trackio"], folder, "", "")
    assert found == {
        "TENSORBOARD_LOGGING_DIR": f"{folder}/tensorboard",
        "WANDB_DIR": str(folder),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "TRACKIO_DIR": f"{folder}/trackio",
    }


def test_a_restarted_job_joins_the_run_that_it_names(tmp_path: Path) -> None:
    named = tracker_variables(["wandb"], tmp_path, "run-1", "")
    assert (named["WANDB_RUN_ID"], named["WANDB_RESUME"]) == ("run-1", "allow")
    nameless = tracker_variables(["wandb"], tmp_path, "", "")
    assert not nameless.keys() & {"WANDB_RUN_ID", "WANDB_RESUME", "WANDB_PROJECT"}


def test_trackers_without_files_of_their_own_get_nothing(tmp_path: Path) -> None:
    assert tracker_variables([], tmp_path, "run", "project") == {}
    assert tracker_variables(["clearml", "kubeflow"], tmp_path, "run", "project") == {}


def test_a_missing_package_of_an_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert "posttrain-harness[wandb]" in missing_packages(["wandb"])["wandb"]


def test_a_project_is_the_project_of_each_tracker(tmp_path: Path) -> None:
    found = tracker_variables(["wandb", "mlflow", "clearml"], tmp_path, "run-1", "ours")
    assert found["WANDB_PROJECT"] == found["MLFLOW_EXPERIMENT_NAME"] == "ours"
    assert "WANDB_PROJECT" not in tracker_variables(["wandb"], tmp_path, "run-1", "")
