"""Is there a dataset to train on, with the columns that are trained."""

from __future__ import annotations

import shlex
from pathlib import Path

from harness.chats.dataset import SavedDataset, choose_columns, read_saved_dataset
from harness.config.training.train import TrainSpec
from harness.errors import UserError
from harness.preflight.findings import Finding, error, note


def check_dataset(train: TrainSpec) -> tuple[SavedDataset | None, list[Finding]]:
    """The training split (None: unreadable), and findings about `train.dataset_name`, a folder."""
    place = "train.dataset_name"
    try:
        dataset = read_saved_dataset(Path(train.sources[0].path), train.dataset_split)
    except UserError as problem:
        message, _, cure = str(problem).partition("\n")
        return None, [error(place, message, cure)]
    findings = []
    if dataset.rows == 0:
        findings.append(error(place, f"{dataset.folder}: has no rows"))
    if not choose_columns(dataset.columns).trained:
        findings.append(
            error(
                place,
                f"{dataset.folder}: columns are {', '.join(dataset.columns)}; "
                "`messages` (or `prompt` and `completion`) is expected",
                f"python -m harness data convert {shlex.quote(train.sources[0].path)} FOLDER makes "
                "`messages` of other shapes",
            )
        )
    columns = choose_columns(dataset.columns)
    if columns.trained and columns.dropped:
        text = f"only {' and '.join(columns.read)} are read; left out: {', '.join(columns.dropped)}"
        findings.append(note(place, text))
    return dataset, findings
