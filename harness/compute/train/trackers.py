"""Trackers of a training run: are their packages here, and do their files go to the run folder."""

from __future__ import annotations

import os
from pathlib import Path

from trl import SFTConfig

from harness.config.training.trackers import missing_packages, tracker_variables, unknown_tracker
from harness.errors import UserError


def prepare_trackers(config: SFTConfig, folder: Path) -> None:
    """Point the trackers in `report_to` to `folder`; before any model is loaded.

    Raises UserError for an unknown tracker, and for one whose package is not installed here.
    """
    names = [name for name in config.report_to if name != "none"]
    for name in names:
        problem = unknown_tracker(name)
        if problem is not None:
            raise UserError(f"report_to: {problem}")
    for name, install in missing_packages(names).items():
        raise UserError(
            f"report_to: {name} is not installed in the training environment: {install}"
        )
    if not names:
        return
    folder.mkdir(parents=True, exist_ok=True)
    project = "" if config.project in (None, "huggingface") else config.project
    variables = tracker_variables(names, folder, config.run_name or "", project)
    for name, value in variables.items():
        os.environ.setdefault(name, value)
