"""The split whose loss is measured beside training: it is there, and its rows are as good."""

from __future__ import annotations

from pathlib import Path

from harness.config.training.train import TrainSpec
from harness.preflight.findings import Finding, error
from harness.preflight.rows.contents import check_rows
from harness.preflight.rows.dataset import check_dataset
from harness.preflight.rows.tokens import check_tokens

PLACE = "train.eval_split"


def check_validation(
    train: TrainSpec, model: str | None, known: list[Finding]
) -> tuple[int | None, list[Finding]]:
    """Rows of `train.eval_split` (None: unreadable, or not set), and what is wrong with them.

    They go through the checks of the rows that are trained; `model` (a folder or an id) is None
    where the template is known to be wrong. What `known` says already is not said again.
    """
    if train.eval_split is None:
        return None, []
    if Path(train.dataset_name).is_dir() and not _is_dict(Path(train.dataset_name)):
        text = f"{train.dataset_name}: holds one set without splits, so no {train.eval_split!r}"
        return None, [error(PLACE, text, "Save a DatasetDict that has it, or leave eval_split out")]
    other = train.model_copy(update={"dataset_split": train.eval_split})
    dataset, found = check_dataset(other)
    if dataset is not None:
        data = check_rows(other, dataset)
        found += data.findings
        if model is not None and not any(f.level == "error" for f in found):
            found += check_tokens(other, model, dataset, data)[1]
    said = {(f.message, f.cure) for f in known}
    new = [f for f in found if (f.message, f.cure) not in said]
    placed = [_placed(f) for f in new]
    return (dataset.rows if dataset else None), placed


def _placed(finding: Finding) -> Finding:
    """A finding about the template stays where it is; the others are of this field."""
    if finding.place != "train.dataset_name":
        return finding
    text = finding.message.replace("train.dataset_split", PLACE)
    return finding.model_copy(update={"place": PLACE, "message": text})


def _is_dict(folder: Path) -> bool:
    return (folder / "dataset_dict.json").is_file()
